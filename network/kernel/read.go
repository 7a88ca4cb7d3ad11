// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// A Scope says what of a namespace is ours, besides the routes that bear our
// protocol.
type Scope struct {
	Devices []string // links whose addresses, routes, permanent neighbors and FDB entries are all ours
	// Networks bounds what is ours on other links: routes with our protocol to
	// destinations inside. Another agent on this host has others.
	Networks []netip.Prefix
	// Addresses are those on other links that are ours, if they exist.
	Addresses []network.Address
	Sysctls   []string // paths below /proc/sys to read
}

// Read reads what the kernel holds within s, and all links. It is whole or an
// error. Addresses are without IPv6 link-local ones, routes without those that
// the kernel itself makes (protocol 2). A link or setting that does not exist
// has no entries.
func (c *Conn) Read(ctx context.Context, s Scope) (network.State, error) {
	r, err := c.newReader(ctx, s)
	if err != nil {
		return network.State{}, err
	}
	r.expect(c.seen.Load())
	for _, read := range []func(context.Context) error{r.addresses, r.routes, r.neighbors, r.forwards} {
		if err := read(ctx); err != nil {
			return network.State{}, err
		}
	}
	if r.state.Sysctls, err = c.readSysctls(s.Sysctls); err != nil {
		return network.State{}, err
	}
	c.seen.Store(&seen{r.ours, s.Networks, len(r.state.Routes), len(r.state.Neighbors), len(r.state.Forwards)})
	return r.state, nil
}

// ReadLinks is Read without routes, neighbors and FDB entries, of which a node
// of a big cluster has tens of thousands.
func (c *Conn) ReadLinks(ctx context.Context, s Scope) (network.State, error) {
	r, err := c.newReader(ctx, s)
	if err != nil {
		return network.State{}, err
	}
	if err := r.addresses(ctx); err != nil {
		return network.State{}, err
	}
	if r.state.Sysctls, err = c.readSysctls(s.Sysctls); err != nil {
		return network.State{}, err
	}
	return r.state, nil
}

// A reader fills one State.
type reader struct {
	c     *Conn
	state network.State
	names map[int32]string
	ours  map[int32]bool // links in the scope

	networks []netip.Prefix
	lookFor  []network.Address
}

// newReader reads the links.
func (c *Conn) newReader(ctx context.Context, s Scope) (*reader, error) {
	links, err := c.links(ctx)
	if err != nil {
		return nil, err
	}
	r := &reader{c: c, state: network.NewState(), names: make(map[int32]string), ours: make(map[int32]bool),
		networks: s.Networks, lookFor: s.Addresses}
	for _, l := range links {
		r.state.Links[l.Name] = l.Link
		r.names[l.index] = l.Name
		if slices.Contains(s.Devices, l.Name) {
			r.ours[l.index] = true
		}
	}
	return r, nil
}

// expect makes room for as many entries as last time, so that large maps need
// not grow.
func (r *reader) expect(last *seen) {
	if last != nil {
		r.state.Routes = make(map[network.RouteKey]network.Route, last.routes)
		r.state.Neighbors = make(map[network.NeighborKey]network.Neighbor, last.neighbors)
		r.state.Forwards = make(map[network.ForwardKey]network.Forward, last.forwards)
	}
}

func (r *reader) addresses(ctx context.Context) error {
	all, err := r.c.addresses(ctx)
	r.keep(all)
	return err
}

// keep takes in those of the addresses that are in the scope.
func (r *reader) keep(all []address) {
	for _, a := range all {
		e := network.Address{Link: r.names[a.index], Prefix: a.prefix}
		ours := r.ours[a.index] && !(a.prefix.Addr().Is6() && a.prefix.Addr().IsLinkLocalUnicast())
		if ours || slices.Contains(r.lookFor, e) {
			r.state.Addresses[e] = e
		}
	}
}

func (r *reader) routes(ctx context.Context) error {
	requests := [][]byte{routeRequest(unix.AF_INET), routeRequest(unix.AF_INET6)}
	err := r.c.sock.stream(ctx, requests, func() { clear(r.state.Routes); clear(r.state.Others) }, r.route)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	return nil
}

func (r *reader) route(b []byte) {
	d, ok := decodeRoute(b)
	if !ok || d.Protocol == unix.RTPROT_KERNEL {
		return
	}
	link := d.first.index
	for _, h := range d.more {
		if !r.ours[link] && r.ours[h.index] {
			link = h.index
		}
	}
	e, inside := d.entry(r.names[link]), within(d.Dst, r.networks)
	if !r.ours[link] && (d.Protocol != network.Protocol || !inside) {
		if inside {
			r.state.Others[e.Key()] = e
		}
		return
	}
	// Of routes with one key, the first is the one in use; but one that we
	// cannot express must not hide one that may be as wished.
	if have, ok := r.state.Routes[e.Key()]; !ok || isOdd(have) && !isOdd(e) {
		r.state.Routes[e.Key()] = e
	}
}

// within reports whether p is part of one of the networks.
func within(p netip.Prefix, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool {
		return n.Bits() <= p.Bits() && n.Contains(p.Addr())
	})
}

func (r *reader) neighbors(ctx context.Context) error {
	requests := [][]byte{r.neighborRequest(unix.AF_INET), r.neighborRequest(unix.AF_INET6)}
	return r.entries(ctx, requests, func() { clear(r.state.Neighbors) }, func(n neighbor) {
		if n.isPermanent() {
			e := network.Neighbor{Link: r.names[n.index], IP: n.ip, MAC: n.mac}
			r.state.Neighbors[e.Key()] = e
		}
	})
}

func (r *reader) forwards(ctx context.Context) error {
	requests := [][]byte{r.neighborRequest(unix.AF_BRIDGE)}
	return r.entries(ctx, requests, func() { clear(r.state.Forwards) }, func(n neighbor) {
		if n.isForward() {
			e := n.forward(r.names[n.index])
			r.state.Forwards[e.Key()] = e
		}
	})
}

// entries calls fn for each neighbor or forwarding entry on our links.
func (r *reader) entries(ctx context.Context, requests [][]byte, reset func(), fn func(neighbor)) error {
	if len(r.ours) == 0 {
		return nil
	}
	err := r.c.sock.stream(ctx, requests, reset, func(b []byte) {
		if n, ok := decodeNeighbor(b); ok && r.ours[n.index] {
			fn(n)
		}
	})
	if err != nil {
		return fmt.Errorf("list neighbors: %w", err)
	}
	return nil
}

// neighborRequest asks for the entries of our link, or of all links if ours
// are several.
func (r *reader) neighborRequest(fam uint8) []byte {
	var e encoder
	e.begin(unix.RTM_GETNEIGH, dumpAll)
	e.buf = append(e.buf, fam, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	if r.c.sock.strict && len(r.ours) == 1 {
		for i := range r.ours {
			e.u32(unix.NDA_IFINDEX, uint32(i))
		}
	}
	e.end()
	return e.buf
}
