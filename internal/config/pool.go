// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"

	"github.com/percale-net/percale/subnet"
)

// A family is what differs between the pools of IPv4 and IPv6.
type family struct {
	name    string
	keys    string // what its keys start with
	example string
	bits    int // of an address
	usual   int // length of a node's subnet where the network has room
	longest int // most that a node's subnet may have
	reserve []netip.Prefix
}

var (
	ipv4 = family{
		name: "IPv4", keys: "", example: "10.244.0.0/16", bits: 32, usual: 24, longest: 30,
		reserve: []netip.Prefix{ // this host (RFC 1122), loopback, link-local (RFC 3927), multicast
			netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"),
		},
	}
	ipv6 = family{
		name: "IPv6", keys: "IPv6", example: "fd00:10:244::/48", bits: 128, usual: 64, longest: 126,
		reserve: []netip.Prefix{ // loopback, IPv4 in IPv6; link-local; multicast (RFC 4291)
			netip.MustParsePrefix("::/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
		},
	}
)

// pool reads the keys of one family. The zero pool means that it is off, or
// that a problem was found.
func (o object) pool(f family, on bool) subnet.Pool {
	if !on {
		o.refuseOff(f)
		return subnet.Pool{}
	}
	key := f.keys + "Network"
	network, ok := o.prefix(key, f)
	if !ok {
		if o.blank(key) {
			o.add(key, nil, fmt.Sprintf("want the pods' network such as %q, or %q: false", f.example, "Enable"+f.name))
		}
		return subnet.Pool{}
	}
	for _, r := range f.reserve {
		if network.Overlaps(r) {
			o.reject(key, fmt.Sprintf("want a network of unicast addresses such as %q, outside %s", f.example, r))
			return subnet.Pool{}
		}
	}
	p := subnet.Pool{Network: network}
	if p.Len, ok = o.subnetLen(f, network); !ok {
		return subnet.Pool{}
	}
	var minOK, maxOK bool
	p.Min, minOK = o.bound(f.keys+"SubnetMin", f, p)
	p.Max, maxOK = o.bound(f.keys+"SubnetMax", f, p)
	if minOK && maxOK && p.Max.Less(p.Min) {
		o.add(f.keys+"SubnetMax", fmt.Appendf(nil, "%q", p.Max), fmt.Sprintf("want it not below %sSubnetMin, which is %s", f.keys, p.Min))
	}
	return p
}

// refuseOff names keys of a family that is off, for they would have no effect.
// A network of everything stands for none: embedders of flannel write that.
func (o object) refuseOff(f family) {
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if f.bits == 128 {
		everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if network, ok := o.prefix(f.keys+"Network", f); !ok || network == everything {
		return
	}
	o.reject(f.keys+"Network", fmt.Sprintf("want %q: true with it, or no such key: %s is off", "Enable"+f.name, f.name))
}

// subnetLen returns the prefix length of each node's subnet. A network must
// hold at least four.
func (o object) subnetLen(f family, network netip.Prefix) (int, bool) {
	shortest := network.Bits() + 2
	if shortest > f.longest {
		o.reject(f.keys+"Network", fmt.Sprintf("want a larger network, /%d or shorter, to hold four subnets", f.longest-2))
		return 0, false
	}
	key := f.keys + "SubnetLen"
	if o.get(key) != nil {
		return o.number(key, limits{least: shortest, most: f.longest})
	}
	return max(f.usual, shortest), true
}

// bound reads the first or the last subnet that may be taken. The very first
// of a network is left out unless it is asked for.
func (o object) bound(key string, f family, p subnet.Pool) (netip.Addr, bool) {
	usual := firstAfter(p)
	if key == f.keys+"SubnetMax" {
		usual = lastIn(p)
	}
	a, ok := o.address(key, f)
	if !ok {
		return usual, o.blank(key)
	}
	if !p.Network.Contains(a) {
		o.reject(key, fmt.Sprintf("want an address inside %s such as %q", p.Network, usual))
		return a, false
	}
	if base := netip.PrefixFrom(a, p.Len).Masked().Addr(); base != a {
		o.reject(key, fmt.Sprintf("want the first address of a /%d such as %q", p.Len, base))
		return a, false
	}
	return a, true
}

// firstAfter returns the base of the second subnet of the pool's network.
func firstAfter(p subnet.Pool) netip.Addr {
	b := p.Network.Addr().AsSlice()
	b[(p.Len-1)/8] |= 1 << (7 - (p.Len-1)%8) // the last bit of the subnet's prefix
	a, _ := netip.AddrFromSlice(b)
	return a
}

// lastIn returns the base of the last subnet of the pool's network.
func lastIn(p subnet.Pool) netip.Addr {
	b := p.Network.Addr().AsSlice()
	for i := p.Network.Bits(); i < p.Len; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
