// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"fmt"
	"net/netip"
	"regexp"

	"github.com/percale-net/percale/network"
)

// named tries what the operator named, in flannel's order.
func (c *chooser) named() (network.Uplink, bool) {
	for _, text := range c.w.Ifaces {
		if up, ok := c.byIface(text); ok {
			return up, true
		}
	}
	for _, re := range c.w.Regexes {
		if up, ok := c.byRegex(re); ok {
			return up, true
		}
	}
	if c.w.Reach.IsValid() {
		return c.byReach()
	}
	return network.Uplink{}, false
}

func (c *chooser) byIface(text string) (network.Uplink, bool) {
	by := "--iface " + text
	addr, err := netip.ParseAddr(text)
	if err != nil {
		l, ok := c.link(text)
		if !ok {
			c.miss("%s: no such interface", by)
			return network.Uplink{}, false
		}
		return c.settle(pick{link: l, by: by})
	}
	addr = addr.Unmap()
	l, ok := c.owner(addr)
	if !ok {
		c.miss("%s: no interface has this address", by)
		return network.Uplink{}, false
	}
	if other, ok := c.owner(c.w.PublicV6); ok && c.w.V4 && c.w.V6 && !l.owns(c.w.PublicV6) {
		c.miss("%s is on %s, but --public-ipv6 %s on %s", by, l.Name, c.w.PublicV6, other.Name)
		return network.Uplink{}, false
	}
	return c.settle(pinned(pick{link: l, by: by}, addr))
}

// pinned makes p use an address.
func pinned(p pick, a netip.Addr) pick {
	if a.Is4() {
		p.v4 = a
	} else {
		p.v6 = a
	}
	return p
}

// byRegex looks at the addresses of all interfaces first, then at their names.
// An interface matches by address if it does so in every family in use.
func (c *chooser) byRegex(re *regexp.Regexp) (network.Uplink, bool) {
	by := "--iface-regex " + re.String()
	known := len(c.misses)
	for _, l := range c.f.Links {
		p := pick{link: l, by: by}
		for _, a := range ordered(l) {
			if re.MatchString(a.String()) && (a.Is4() && !p.v4.IsValid() || a.Is6() && !p.v6.IsValid()) {
				p = pinned(p, a)
			}
		}
		if c.w.V4 && !p.v4.IsValid() || c.w.V6 && !p.v6.IsValid() {
			continue
		}
		if up, ok := c.settle(p); ok {
			return up, true
		}
	}
	for _, l := range c.f.Links {
		if !re.MatchString(l.Name) {
			continue
		}
		if up, ok := c.settle(pick{link: l, by: by}); ok {
			return up, true
		}
	}
	if len(c.misses) == known {
		both := ""
		if c.w.V4 && c.w.V6 {
			both = " (an interface needs a match in both families)"
		}
		c.miss("%s: matches no address%s and no name", by, both)
	}
	return network.Uplink{}, false
}

func (c *chooser) byReach() (network.Uplink, bool) {
	by := fmt.Sprintf("--iface-can-reach %s", c.w.Reach)
	l, ok := c.link(c.f.Reach.Link)
	if !ok {
		c.miss("%s: the kernel has no route to it", by)
		return network.Uplink{}, false
	}
	p := pick{link: l, by: by}
	if c.f.Reach.Src.IsValid() {
		p = pinned(p, c.f.Reach.Src)
	}
	return c.settle(p)
}
