// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// An address is an address of a link as the kernel tells it.
type address struct {
	index  int32
	prefix netip.Prefix // our own address, not masked
	peer   netip.Addr   // the other end's on a point-to-point link; else our own
	flags  uint32       // IFA_F_*
}

// addresses reads all addresses of both families, in the kernel's order.
func (c *Conn) addresses(ctx context.Context) ([]address, error) {
	var e encoder
	e.begin(unix.RTM_GETADDR, dumpAll)
	e.buf = append(e.buf, make([]byte, ifAddrLen)...)
	e.end()
	all, err := dump(ctx, c.sock, e.buf, decodeAddress)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return all, nil
}

// addressesOf reads the addresses of one link, both families.
func (c *Conn) addressesOf(ctx context.Context, index int32) ([]address, error) {
	var of []address
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var e encoder
		e.begin(unix.RTM_GETADDR, dumpAll)
		e.buf = append(e.buf, fam, 0, 0, 0) // kernels that do not filter ignore the link's number
		e.buf = native.AppendUint32(e.buf, uint32(index))
		e.end()
		all, err := dump(ctx, c.sock, e.buf, decodeAddress)
		if errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without this family
		}
		if err != nil {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		of = append(of, slices.DeleteFunc(all, func(a address) bool { return a.index != index })...)
	}
	return of, nil
}

// decodeAddress reads an RTM_NEWADDR message.
func decodeAddress(b []byte) (a address, ok bool) {
	if len(b) < ifAddrLen {
		return address{}, false
	}
	a.index, a.flags = int32(native.Uint32(b[4:])), uint32(b[2])
	var local netip.Addr
	for typ, v := range attrs(b[ifAddrLen:]) {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = addrOf(v)
		case unix.IFA_ADDRESS:
			a.peer, _ = addrOf(v)
		case unix.IFA_FLAGS:
			a.flags = u32Of(v)
		}
	}
	if !local.IsValid() {
		local = a.peer
	}
	if !a.peer.IsValid() {
		a.peer = local
	}
	a.prefix = netip.PrefixFrom(local, int(b[1]))
	return a, a.prefix.IsValid() && a.peer.Is4() == local.Is4()
}

// setAddresses adds addresses. An IPv6 address is usable at once (no duplicate
// address detection): it is ours by lease.
func (c *Conn) setAddresses(x *index, set []network.Address) error {
	var errs []error
	for _, a := range set {
		link, err := x.of(a.Link)
		if err == nil {
			err = c.changeAddress(unix.RTM_NEWADDR, address{index: link, prefix: a.Prefix, peer: a.Prefix.Addr()})
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, &EntryError{"set", a, err})
		}
	}
	return errors.Join(errs...)
}

// deleteAddresses deletes addresses as the kernel holds them, and puts back
// what it takes with them: without the setting promote_secondaries, the first
// IPv4 address of a subnet goes with all others of it.
func (c *Conn) deleteAddresses(ctx context.Context, x *index, del []network.Address) error {
	if len(del) == 0 {
		return nil
	}
	have, err := c.addresses(ctx)
	if err != nil {
		return err
	}
	var errs []error
	unwanted := make(map[int]bool)
	for _, a := range del {
		link, err := x.of(a.Link)
		if err != nil {
			if !gone(err) {
				errs = append(errs, &EntryError{"delete", a, err})
			}
			continue
		}
		for i, h := range have {
			if h.index != link || h.prefix != a.Prefix {
				continue
			}
			unwanted[i] = true
			if err := c.changeAddress(unix.RTM_DELADDR, h); err != nil && !gone(err) {
				errs = append(errs, &EntryError{"delete", a, err})
			}
		}
	}
	return errors.Join(append(errs, c.restoreAddresses(ctx, have, unwanted))...)
}

// restoreAddresses adds what was a secondary IPv4 address and is gone.
func (c *Conn) restoreAddresses(ctx context.Context, had []address, unwanted map[int]bool) error {
	secondary := func(a address) bool { return a.prefix.Addr().Is4() && a.flags&unix.IFA_F_SECONDARY != 0 }
	if len(unwanted) == 0 || !slices.ContainsFunc(had, secondary) {
		return nil
	}
	now, err := c.addresses(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for i, a := range had {
		same := func(n address) bool { return n.index == a.index && n.prefix == a.prefix }
		if !secondary(a) || unwanted[i] || slices.ContainsFunc(now, same) {
			continue
		}
		if err := c.changeAddress(unix.RTM_NEWADDR, a); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("put back address %s: %w", a.prefix, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Conn) changeAddress(typ uint16, a address) error {
	var e encoder
	e.address(typ, a)
	return c.change(e.buf)
}

// address appends a message that sets or deletes an address.
func (e *encoder) address(typ uint16, a address) {
	if typ == unix.RTM_NEWADDR {
		e.begin(typ, setOrReplace)
	} else {
		e.begin(typ, 0)
	}
	own := a.prefix.Addr()
	e.buf = append(e.buf, family(own), uint8(a.prefix.Bits()), 0, unix.RT_SCOPE_UNIVERSE)
	e.buf = native.AppendUint32(e.buf, uint32(a.index))
	e.addr(unix.IFA_LOCAL, own)
	e.addr(unix.IFA_ADDRESS, a.peer)
	if typ == unix.RTM_NEWADDR {
		if own.Is6() {
			e.u32(unix.IFA_FLAGS, unix.IFA_F_NODAD)
		} else if a.prefix.Bits() < 31 {
			e.addr(unix.IFA_BROADCAST, broadcast(a.prefix))
		}
	}
	e.end()
}

// broadcast returns the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}
