// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// setLinks makes the links of wants as wished, those that are no port of a
// bridge first, since the bridge may be among them.
func (c *Conn) setLinks(ctx context.Context, wants []network.Link) error {
	if len(wants) == 0 {
		return nil
	}
	wants = slices.Clone(wants)
	slices.SortStableFunc(wants, func(a, b network.Link) int { return min(len(a.Master), 1) - min(len(b.Master), 1) })
	var errs []error
	for _, want := range wants {
		if err := c.setLink(ctx, want); err != nil {
			errs = append(errs, &EntryError{"set", want, err})
		}
	}
	return errors.Join(errs...)
}

func (c *Conn) setLink(ctx context.Context, want network.Link) error {
	have, err := c.link(want.Name)
	switch {
	case errors.Is(err, unix.ENODEV):
		if err := c.addLink(ctx, want); err != nil {
			return err
		}
		return c.settle(ctx, want, true)
	case err != nil:
		return err
	case have.Kind != want.Kind:
		return fmt.Errorf("it exists as kind %q, wanted %q: ip link del %s", have.Kind, want.Kind, want.Name)
	case network.LinkChange(have.Link, want) == network.Recreate:
		return c.recreate(ctx, want)
	}
	return c.settle(ctx, want, false)
}

// settle changes in place what differs, and checks that nothing does in the
// end, since the kernel accepts some changes without making them. A VXLAN that
// it cannot change in place is made anew, unless it just was.
func (c *Conn) settle(ctx context.Context, want network.Link, anew bool) error {
	have, err := c.link(want.Name)
	if err != nil || network.LinkChange(have.Link, want) == network.Keep {
		return err
	}
	refused := c.modify(ctx, have, want)
	have, err = c.link(want.Name)
	// A new one would not be allowed either, or another try may do.
	stays := errors.Is(refused, unix.EPERM) || errors.Is(refused, ErrDumpInterrupted)
	switch {
	case err != nil:
		return errors.Join(refused, err)
	case network.LinkChange(have.Link, want) == network.Keep:
		return nil
	case have.VXLAN != want.VXLAN && !anew && !stays:
		return c.recreate(ctx, want)
	case refused != nil:
		return refused
	}
	return fmt.Errorf("the kernel keeps %s", differences(have.Link, want))
}

// recreate deletes and adds a link, unless it is known that adding will fail.
func (c *Conn) recreate(ctx context.Context, want network.Link) error {
	if _, err := c.required(want.VXLAN.Underlay); err != nil {
		return err
	}
	if err := c.conflict(ctx, want); err != nil {
		return err
	}
	if err := c.DelLink(ctx, want.Name); err != nil {
		return err
	}
	if err := c.addLink(ctx, want); err != nil {
		return err
	}
	return c.settle(ctx, want, true)
}

// conflict names the VXLAN device that keeps want from being made: the kernel
// allows one per VNI, port and family, which one without an address does not
// tell.
func (c *Conn) conflict(ctx context.Context, want network.Link) error {
	if want.Kind != network.KindVXLAN {
		return nil
	}
	links, err := c.links(ctx)
	if err != nil {
		return err
	}
	w := want.VXLAN
	for _, l := range links {
		v := l.VXLAN
		family := !v.Local.IsValid() || v.Local.Is6() == w.Local.Is6()
		if l.Kind == want.Kind && l.Name != want.Name && v.VNI == w.VNI && v.Port == w.Port && family {
			return fmt.Errorf("vxlan id %d port %d is already held by %s: ip link del %s", w.VNI, w.Port, l.Name, l.Name)
		}
	}
	return nil
}

// required returns the number of a link that another one needs, 0 for no name.
func (c *Conn) required(name string) (int32, error) {
	if name == "" {
		return 0, nil
	}
	i, err := c.index(name)
	if errors.Is(err, unix.ENODEV) {
		return 0, fmt.Errorf("link %s does not exist", name)
	}
	return i, err
}

// addLink makes a link with all but what only a change can set.
func (c *Conn) addLink(ctx context.Context, want network.Link) error {
	switch want.Kind {
	case network.KindVXLAN, network.KindBridge:
	case network.KindVeth:
		return errors.New("it does not exist (a veth pair is made at once, with both ends)")
	default:
		return errors.New("it does not exist")
	}
	underlay, err := c.required(want.VXLAN.Underlay)
	if err != nil {
		return err
	}
	var e encoder
	e.begin(unix.RTM_NEWLINK, createNew)
	e.newLink(want)
	info := e.nest(unix.IFLA_LINKINFO)
	e.attr(unix.IFLA_INFO_KIND, []byte(want.Kind))
	if want.Kind == network.KindVXLAN {
		data := e.nest(unix.IFLA_INFO_DATA)
		e.newVXLAN(want.VXLAN, underlay)
		e.close(data)
	}
	e.close(info)
	e.end()
	err = c.change(e.buf)
	if errors.Is(err, unix.EEXIST) {
		if held := c.conflict(ctx, want); held != nil {
			return held
		}
	}
	return err
}

// newLink appends the head of a message that makes a link.
func (e *encoder) newLink(l network.Link) {
	i := ifInfo{}
	if l.Up {
		i.flags |= unix.IFF_UP
	}
	if l.Promisc {
		i.flags |= unix.IFF_PROMISC
	}
	i.change = i.flags
	e.ifInfo(i)
	e.name(unix.IFLA_IFNAME, l.Name)
	if l.MTU != 0 {
		e.u32(unix.IFLA_MTU, uint32(l.MTU))
	}
	if !l.MAC.IsZero() {
		e.attr(unix.IFLA_ADDRESS, l.MAC[:])
	}
}

func (e *encoder) newVXLAN(v network.VXLAN, underlay int32) {
	e.u32(unix.IFLA_VXLAN_ID, uint32(v.VNI))
	e.attr(unix.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, uint16(v.Port)))
	if v.Local.IsValid() {
		e.vxlanLocal(v)
	}
	if underlay != 0 {
		e.u32(unix.IFLA_VXLAN_LINK, uint32(underlay))
	}
	e.flag(unix.IFLA_VXLAN_LEARNING, v.Learning)
	if v.GBP {
		e.attr(unix.IFLA_VXLAN_GBP, nil)
	}
}

func (e *encoder) vxlanLocal(v network.VXLAN) {
	if v.Local.Is4() {
		e.addr(unix.IFLA_VXLAN_LOCAL, v.Local)
	} else {
		e.addr(unix.IFLA_VXLAN_LOCAL6, v.Local)
	}
}

// differences lists what want asks and have is not, in words.
func differences(have, want network.Link) string {
	var out []string
	add := func(what string, have, want any) {
		if have != want {
			out = append(out, fmt.Sprintf("%s %v, wanted %v", what, have, want))
		}
	}
	if want.MTU != 0 {
		add("mtu", have.MTU, want.MTU)
	}
	if !want.MAC.IsZero() {
		add("address", have.MAC, want.MAC)
	}
	add("up", have.Up, want.Up)
	add("master", have.Master, want.Master)
	add("hairpin", have.Hairpin, want.Hairpin)
	add("promisc", have.Promisc, want.Promisc)
	add("vxlan", have.VXLAN, want.VXLAN)
	return strings.Join(out, "; ")
}
