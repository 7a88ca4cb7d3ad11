// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// changeLocal runs fn, which changes the address that the VXLAN l sends from,
// and has packets to all peers leave with the new one.
//
// With each forwarding entry the kernel remembers a route and the source that
// goes with it (vxlan_rdst.dst_cache). A change of the device leaves them as
// they are (vxlan_changelink, Linux 6.18), and over IPv6 nothing else need drop
// them: packets would have the former source until some address of the
// namespace changes, and peers that look at the source would refuse them. Only
// an entry that leads elsewhere than before forgets (vxlan_fdb_replace). So each
// is bound to the underlay before, and freed after.
//
// An agent that dies in between leaves entries that no wish has, and the next
// round frees them. Unless all are bound, fn is not run.
func (c *Conn) changeLocal(ctx context.Context, l link, underlay int32, fn func() error) error {
	ctx = context.WithoutCancel(ctx) // half of it would be worse than none
	r := &reader{c: c, state: network.NewState(), names: map[int32]string{l.index: l.Name}, ours: map[int32]bool{l.index: true}}
	if err := r.forwards(ctx); err != nil {
		return err
	}
	all := slices.DeleteFunc(slices.Collect(maps.Values(r.state.Forwards)), func(f network.Forward) bool {
		return !f.Dst.IsValid() || f.Key().Dst.IsValid() // bound already, or one of several of a MAC
	})
	via := cmp.Or(underlay, l.underlay, l.index)
	set := func(encode func(*encoder, int32, network.Forward) error) error {
		return apply(ctx, newIndex(c), job[network.Forward]{"set", all, linkOfForward, encode, nil})
	}
	err := set(func(e *encoder, i int32, f network.Forward) error {
		e.bound(i, f, via)
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(fn(), set(encodeForward(unix.RTM_NEWNEIGH)))
}

// bound appends a message that sets f, with packets to leave by one link alone.
func (e *encoder) bound(index int32, f network.Forward, via int32) {
	e.begin(unix.RTM_NEWNEIGH, setOrReplace)
	e.neighHeader(unix.AF_BRIDGE, index, unix.NTF_SELF)
	e.attr(unix.NDA_LLADDR, f.MAC[:])
	e.addr(unix.NDA_DST, f.Dst)
	e.u32(unix.NDA_IFINDEX, uint32(via))
	e.end()
}
