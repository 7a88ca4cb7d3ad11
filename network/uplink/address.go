// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"net/netip"
	"slices"
)

// fault says why a link carries no packets to peers; "" if it does.
func (l Link) fault() string {
	switch {
	case l.Loopback:
		return "is a loopback interface"
	case !l.Up:
		return "is down"
	case l.MTU <= 0:
		return "has no MTU"
	}
	return ""
}

// owns reports whether a is an address of the link.
func (l Link) owns(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(l.Addrs, func(x Addr) bool { return x.Prefix.Addr() == a })
}

// best returns the address to use on a link, zero if there is none.
func best(l Link, six bool) netip.Addr {
	for _, a := range ordered(l) {
		if a.Is6() == six {
			return a
		}
	}
	return netip.Addr{}
}

// ordered returns the usable addresses of a link, the most lasting one first;
// equals stay in the kernel's order. An IPv6 link-local address is of no use: it
// means nothing without a link, so no peer could send to it.
func ordered(l Link) []netip.Addr {
	var usable []Addr
	for _, a := range l.Addrs {
		ip := a.Prefix.Addr()
		if !a.Deprecated && (ip.IsGlobalUnicast() || ip.Is4() && ip.IsLinkLocalUnicast()) {
			usable = append(usable, a)
		}
	}
	slices.SortStableFunc(usable, func(a, b Addr) int { return a.rank() - b.rank() })
	var all []netip.Addr
	for _, a := range usable {
		all = append(all, a.Prefix.Addr())
	}
	return all
}

// rank orders addresses, the lowest is the best. What moves from host to host
// (a secondary address, or a bare one that somebody added without a lifetime, as
// keepalived and its like do) comes after what a lease gives, which comes after
// what is configured.
func (a Addr) rank() int {
	rank := 0
	for _, bad := range []bool{ // from the weightiest on
		a.Prefix.Addr().IsLinkLocalUnicast(),
		a.Temporary,
		a.Permanent && a.Prefix.IsSingleIP(),
		!a.Permanent,
	} {
		rank *= 2
		if bad {
			rank++
		}
	}
	return rank
}

// onLink returns where packets get from a link without a router, sorted. A
// default route without a gateway is left out: it tells nothing of peers.
func onLink(l Link, routes []Route) []netip.Prefix {
	var all []netip.Prefix
	for _, a := range l.Addrs {
		all = append(all, a.Prefix.Masked())
	}
	for _, r := range routes {
		if r.Link == l.Name && !r.Via.IsValid() && r.Dst.Bits() > 0 {
			all = append(all, r.Dst.Masked())
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}
