// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// modify changes in place what differs, each attribute by a message of its
// own: one that the kernel refuses then leaves the others done.
func (c *Conn) modify(ctx context.Context, have link, want network.Link) error {
	var errs []error
	this := ifInfo{index: have.index}
	if have.VXLAN != want.VXLAN {
		underlay, err := c.required(want.VXLAN.Underlay)
		change := func() error {
			return c.step("vxlan", this, func(e *encoder) { e.changeVXLAN(have, want.VXLAN, underlay) })
		}
		switch {
		case err != nil:
		case have.VXLAN.Local != want.VXLAN.Local:
			err = c.changeLocal(ctx, have, underlay, change)
		default:
			err = change()
		}
		errs = append(errs, err)
	}
	if !want.MAC.IsZero() && have.MAC != want.MAC {
		errs = append(errs, c.keepNeighbors(ctx, have, func() error {
			return c.step("address", this, func(e *encoder) { e.attr(unix.IFLA_ADDRESS, want.MAC[:]) })
		}))
	}
	if want.MTU != 0 && have.MTU != want.MTU {
		errs = append(errs, c.step("mtu", this, func(e *encoder) { e.u32(unix.IFLA_MTU, uint32(want.MTU)) }))
	}
	if i := flagChange(have, want); i.change != 0 {
		errs = append(errs, c.step("flags", i, func(*encoder) {}))
	}
	if have.Master != want.Master {
		errs = append(errs, c.setMaster(have, want))
		have.Hairpin = false // as of any new port
	}
	if have.Hairpin != want.Hairpin && want.Master != "" {
		errs = append(errs, c.step("hairpin", this, func(e *encoder) { e.hairpin(want.Hairpin) }))
	}
	return errors.Join(errs...)
}

// step sends one change of a link.
func (c *Conn) step(what string, i ifInfo, body func(e *encoder)) error {
	var e encoder
	e.begin(unix.RTM_NEWLINK, 0)
	e.ifInfo(i)
	body(&e)
	e.end()
	if err := c.change(e.buf); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (c *Conn) setMaster(have link, want network.Link) error {
	master, err := c.required(want.Master)
	if err != nil {
		return err
	}
	return c.step("master", ifInfo{index: have.index}, func(e *encoder) { e.u32(unix.IFLA_MASTER, uint32(master)) })
}

// keepNeighbors runs fn, which changes the link's MAC, and sets the permanent
// neighbors again that the kernel drops then (neigh_changeaddr), so that no
// peer is out of reach until the next round.
func (c *Conn) keepNeighbors(ctx context.Context, l link, fn func() error) error {
	r := &reader{c: c, state: network.NewState(), names: map[int32]string{l.index: l.Name}, ours: map[int32]bool{l.index: true}}
	unknown := r.neighbors(ctx)
	if err := errors.Join(fn(), unknown); err != nil {
		return err
	}
	all := slices.Collect(maps.Values(r.state.Neighbors))
	return apply(ctx, newIndex(c), job[network.Neighbor]{"set", all, linkOfNeighbor, encodeNeighbor(unix.RTM_NEWNEIGH), nil})
}

func flagChange(have link, want network.Link) ifInfo {
	i := ifInfo{index: have.index}
	if have.Up != want.Up {
		i.change |= unix.IFF_UP
	}
	if have.Promisc != want.Promisc {
		i.change |= unix.IFF_PROMISC
	}
	if want.Up {
		i.flags |= unix.IFF_UP
	}
	if want.Promisc {
		i.flags |= unix.IFF_PROMISC
	}
	i.flags &= i.change
	return i
}

// changeVXLAN appends only what differs: the kernel refuses some attributes in
// a change even when they agree.
func (e *encoder) changeVXLAN(have link, want network.VXLAN, underlay int32) {
	info := e.nest(unix.IFLA_LINKINFO)
	e.attr(unix.IFLA_INFO_KIND, []byte(network.KindVXLAN))
	data := e.nest(unix.IFLA_INFO_DATA)
	if have.VXLAN.Local != want.Local && want.Local.IsValid() {
		e.vxlanLocal(want)
	}
	if have.underlay != underlay {
		e.u32(unix.IFLA_VXLAN_LINK, uint32(underlay))
	}
	if have.VXLAN.Learning != want.Learning {
		e.flag(unix.IFLA_VXLAN_LEARNING, want.Learning)
	}
	e.close(data)
	e.close(info)
}

func (e *encoder) hairpin(on bool) {
	info := e.nest(unix.IFLA_LINKINFO)
	e.attr(unix.IFLA_INFO_SLAVE_KIND, []byte(network.KindBridge))
	data := e.nest(unix.IFLA_INFO_SLAVE_DATA)
	e.flag(unix.IFLA_BRPORT_MODE, on)
	e.close(data)
	e.close(info)
}

// change sends one message and returns the kernel's answer.
func (c *Conn) change(b []byte) error {
	var refused error
	err := c.sock.exchange(b, 1, func(_ int, err error) { refused = err })
	return errors.Join(err, refused)
}
