// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/percale-net/percale/network"
)

// A Wish is what the operator asks of the uplink. The zero value of each field
// asks for nothing.
type Wish struct {
	Ifaces             []string // --iface: names or addresses, in order of preference
	Regexes            []*regexp.Regexp
	Reach              netip.Addr     // --iface-can-reach; Facts.Reach is the answer
	PublicV4, PublicV6 netip.Addr     // what we publish, be it ours or a NAT's
	V4, V6             bool           // the families in use: the uplink needs an address of each
	Pods               []netip.Prefix // the pod networks: our overlay device and the pods' bridge are in them
}

// Choose returns the interface that carries packets to peers, our addresses on
// it, and why it is the one. Where the wish names interfaces (--iface, then
// --iface-regex, then --iface-can-reach) the first usable one is taken and
// nothing else will do; otherwise it is the one that has the public address, or
// that of the default route. An error says what was tried.
func Choose(w Wish, f Facts) (network.Uplink, error) {
	if !w.V4 && !w.V6 {
		return network.Uplink{}, errors.New("neither IPv4 nor IPv6 is in use")
	}
	c := chooser{w: w, f: f.without(w.Pods)}
	named := len(w.Ifaces) > 0 || len(w.Regexes) > 0 || w.Reach.IsValid()
	var up network.Uplink
	var ok bool
	if named {
		up, ok = c.named()
	} else if up, ok = c.public(); !ok {
		up, ok = c.byDefault()
	}
	if !ok {
		return network.Uplink{}, fmt.Errorf("%s: %s", c.tried(), c.remedy())
	}
	return up, nil
}

// without returns f less the addresses inside the networks, so that the overlay
// is never carried by itself.
func (f Facts) without(networks []netip.Prefix) Facts {
	f.Links = slices.Clone(f.Links)
	for i, l := range f.Links {
		f.Links[i].Addrs = slices.DeleteFunc(slices.Clone(l.Addrs), func(a Addr) bool {
			return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a.Prefix.Addr()) })
		})
	}
	return f
}

type chooser struct {
	w      Wish
	f      Facts
	misses []string // what was tried in vain, one clause each
	note   string   // to be added to why
}

// A pick is an interface to settle on, with the addresses that are asked for.
type pick struct {
	link   Link
	v4, v6 netip.Addr // zero: the best one
	by     string     // what led to it
}

// miss notes a clause, once.
func (c *chooser) miss(format string, args ...any) {
	if clause := fmt.Sprintf(format, args...); !slices.Contains(c.misses, clause) {
		c.misses = append(c.misses, clause)
	}
}

// tried returns the clauses, bounded: a node may have thousands of interfaces.
func (c *chooser) tried() string {
	const most = 8
	if more := len(c.misses) - most; more > 0 {
		return strings.Join(c.misses[:most], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(c.misses, "; ")
}

// remedy names an interface that would do, if there is one.
func (c *chooser) remedy() string {
	for _, l := range c.f.Links {
		if l.fault() == "" && (!c.w.V4 || best(l, false).IsValid()) && (!c.w.V6 || best(l, true).IsValid()) {
			return "name one that is up, as in --iface=" + l.Name
		}
	}
	return "no interface is up and has an address of each family in use"
}

// settle completes a pick, or notes why it is of no use.
func (c *chooser) settle(p pick) (network.Uplink, bool) {
	up := network.Uplink{Name: p.link.Name, MTU: p.link.MTU, Why: p.by + c.note}
	if c.w.V4 {
		up.V4 = cmp.Or(p.v4, published(p.link, c.w.PublicV4), best(p.link, false))
	}
	if c.w.V6 {
		up.V6 = cmp.Or(p.v6, published(p.link, c.w.PublicV6), best(p.link, true))
	}
	fault := p.link.fault()
	switch {
	case fault != "":
	case c.w.V4 && !up.V4.IsValid():
		fault = "has no usable IPv4 address"
	case c.w.V6 && !up.V6.IsValid():
		fault = "has no usable IPv6 address"
	default:
		up.OnLink = onLink(p.link, c.f.Routes)
		return up, true
	}
	c.miss("%s: %s %s", p.by, p.link.Name, fault)
	return network.Uplink{}, false
}

// published returns a if the link has it. What peers send to is then also where
// our packets come from: peers accept packets from published addresses only.
func published(l Link, a netip.Addr) netip.Addr {
	if l.owns(a) {
		return a
	}
	return netip.Addr{}
}

// public finds the interface that has the address which we publish.
func (c *chooser) public() (network.Uplink, bool) {
	for _, x := range []struct {
		flag string
		addr netip.Addr
		on   bool
	}{{"--public-ip", c.w.PublicV4, c.w.V4}, {"--public-ipv6", c.w.PublicV6, c.w.V6}} {
		if !x.on || !x.addr.IsValid() {
			continue
		}
		by := fmt.Sprintf("%s %s", x.flag, x.addr)
		if l, ok := c.owner(x.addr); !ok {
			c.miss("%s is on no interface, so it is taken for the address of a NAT", by)
		} else if up, ok := c.settle(pick{link: l, by: by}); ok {
			return up, true
		}
		c.note = "; " + c.tried()
	}
	return network.Uplink{}, false
}

// owner returns the interface that has an address; one that can be used first.
func (c *chooser) owner(a netip.Addr) (Link, bool) {
	var found Link
	for _, l := range c.f.Links {
		if l.owns(a) && (found.Name == "" || found.fault() != "" && l.fault() == "") {
			found = l
		}
	}
	return found, found.Name != ""
}

func (c *chooser) link(name string) (Link, bool) {
	for _, l := range c.f.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}
