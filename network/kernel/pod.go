// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// ReadDevices reads the links of s.Devices alone, their addresses, and the
// settings: for a program that wires one pod. What it costs does not grow with
// the number of pods, and others that come and go meanwhile do not disturb it.
func (c *Conn) ReadDevices(ctx context.Context, s Scope) (network.State, error) {
	r := &reader{c: c, state: network.NewState(), names: make(map[int32]string), ours: make(map[int32]bool)}
	for _, name := range s.Devices {
		l, err := c.link(name)
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return network.State{}, fmt.Errorf("read link %s: %w", name, err)
		}
		r.state.Links[name], r.names[l.index], r.ours[l.index] = l.Link, name, true
		all, err := c.addressesOf(ctx, l.index)
		if err != nil && !gone(err) {
			return network.State{}, err
		}
		r.keep(all)
	}
	var err error
	r.state.Sysctls, err = c.readSysctls(s.Sysctls)
	return r.state, err
}

// Has reports whether there is a link of that name.
func (c *Conn) Has(name string) (bool, error) {
	_, err := c.index(name)
	if errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up link %s: %w", name, err)
	}
	return true, nil
}

// Ports returns the names of a bridge's ports.
func (c *Conn) Ports(ctx context.Context, bridge string) ([]string, error) {
	links, err := c.links(ctx)
	if err != nil {
		return nil, err
	}
	var ports []string
	for _, l := range links {
		if l.Master == bridge {
			ports = append(ports, l.Name)
		}
	}
	return ports, nil
}

// Aliases returns the alias of each link that has one.
func (c *Conn) Aliases(ctx context.Context) (map[string]string, error) {
	links, err := c.links(ctx)
	if err != nil {
		return nil, err
	}
	aliases := make(map[string]string)
	for _, l := range links {
		if l.alias != "" {
			aliases[l.Name] = l.alias
		}
	}
	return aliases, nil
}

// Wire makes a link that was just made, and is still down, what want says of
// it: settings first, which count from the moment it goes up, then up, with
// addresses and routes, in a single send. A route that another link has stays
// there. It neither looks at what is there nor back at what came of it: Apply
// does so.
func (c *Conn) Wire(name string, want network.State) error {
	index, err := c.index(name)
	if err != nil {
		return fmt.Errorf("wire %s: %w", name, err)
	}
	var settings []network.Sysctl
	for _, s := range want.Sysctls {
		settings = append(settings, s)
	}
	if err := c.setSysctls(settings); err != nil {
		return err
	}
	b := batch[any]{}
	add := func(entry any, err error) error {
		b.entries, b.ends = append(b.entries, entry), append(b.ends, len(b.buf))
		return err
	}
	b.begin(unix.RTM_NEWLINK, 0)
	b.ifInfo(flagChange(link{index: index}, want.Links[name]))
	b.end()
	add(want.Links[name], nil)
	for _, a := range want.Addresses {
		b.address(unix.RTM_NEWADDR, address{index: index, prefix: a.Prefix, peer: a.Prefix.Addr()})
		add(a, nil)
	}
	for _, r := range want.Routes {
		if err := add(r, b.route(unix.RTM_NEWROUTE, index, r)); err != nil {
			return &EntryError{"set", r, err}
		}
		native.PutUint16(b.buf[b.start+6:], createNew|unix.NLM_F_REQUEST)
	}
	return b.sendAll(c.sock)
}

// sendAll sends a batch and returns what the kernel refused, joined. What
// exists is no refusal.
func (b *batch[E]) sendAll(s *socket) error {
	var refused []error
	err := s.exchange(b.buf, len(b.entries), func(i int, err error) {
		if errors.Is(err, unix.EEXIST) {
			return
		}
		refused = append(refused, &EntryError{"set", b.entries[i], err})
	})
	return errors.Join(append(refused, err)...)
}
