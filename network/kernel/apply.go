// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// Apply makes changes in the order of their fields. What cannot be done is
// reported by one *EntryError per entry, joined; it never stops the others.
// What exists already, and what is to be deleted and is gone, is no error.
//
// A link that has to be made anew loses its addresses, routes and entries; the
// next comparison finds them missing.
func (c *Conn) Apply(ctx context.Context, ch network.Changes) error {
	x := newIndex(c)
	errs := []error{
		c.setLinks(ctx, ch.SetLinks),
		c.setAddresses(x, ch.SetAddresses),
		c.deleteAddresses(ctx, x, ch.DelAddresses),
		c.setSysctls(ch.SetSysctls),
		apply(ctx, x, job[network.Forward]{"set", ch.SetForwards, linkOfForward, encodeForward(unix.RTM_NEWNEIGH), nil}),
		apply(ctx, x, job[network.Neighbor]{"set", ch.SetNeighbors, linkOfNeighbor, encodeNeighbor(unix.RTM_NEWNEIGH), nil}),
		apply(ctx, x, job[network.Route]{"set", ch.SetRoutes, linkOfRoute, encodeRoute(unix.RTM_NEWROUTE), c.insist}),
		c.deleteRoutes(ctx, x, ch.DelRoutes),
		apply(ctx, x, job[network.Neighbor]{"delete", ch.DelNeighbors, linkOfNeighbor, encodeNeighbor(unix.RTM_DELNEIGH), nil}),
		apply(ctx, x, job[network.Forward]{"delete", ch.DelForwards, linkOfForward, encodeForward(unix.RTM_DELNEIGH), nil}),
	}
	return errors.Join(errs...)
}

func linkOfForward(f network.Forward) string   { return f.Link }
func linkOfNeighbor(n network.Neighbor) string { return n.Link }
func linkOfRoute(r network.Route) string       { return r.Link }

func encodeForward(typ uint16) func(*encoder, int32, network.Forward) error {
	return func(e *encoder, i int32, f network.Forward) error { return e.forward(typ, i, f) }
}

func encodeNeighbor(typ uint16) func(*encoder, int32, network.Neighbor) error {
	return func(e *encoder, i int32, n network.Neighbor) error { return e.neighbor(typ, i, n) }
}

func encodeRoute(typ uint16) func(*encoder, int32, network.Route) error {
	return func(e *encoder, i int32, r network.Route) error { return e.route(typ, i, r) }
}

// An index finds the numbers of links, once each. It lives as long as one
// Apply, since a link may be made anew under its name.
type index struct {
	c     *Conn
	known map[string]int32 // 0: there is none
}

func newIndex(c *Conn) *index { return &index{c: c, known: make(map[string]int32)} }

// of returns 0 for "", which only a blackhole route has.
func (x *index) of(name string) (int32, error) {
	if name == "" {
		return 0, nil
	}
	i, ok := x.known[name]
	if !ok {
		var err error
		if i, err = x.c.index(name); err != nil && !errors.Is(err, unix.ENODEV) {
			return 0, err
		}
		x.known[name] = i
	}
	if i == 0 {
		return 0, unix.ENODEV
	}
	return i, nil
}

// A job sets or deletes entries of one kind, many at a time.
type job[E any] struct {
	op      string // "set" or "delete"
	entries []E
	link    func(E) string
	encode  func(e *encoder, index int32, entry E) error // appends one message, or nothing and an error
	insist  func(index int32, entry E, why error) error  // called when a set is refused; nil: EEXIST is success
}

// A batch is what goes to the kernel in one send.
type batch[E any] struct {
	encoder
	entries []E
	indexes []int32
	ends    []int // of each message in buf
}

// apply does the whole job and returns the failures, joined.
func apply[E any](ctx context.Context, x *index, j job[E]) error {
	var errs []error
	fail := func(entry E, err error) {
		if err != nil {
			errs = append(errs, &EntryError{j.op, entry, err})
		}
	}
	var b batch[E]
	flush := func() {
		b.send(x.c.sock, j, fail)
		b = batch[E]{encoder: encoder{buf: b.buf[:0]}, entries: b.entries[:0], indexes: b.indexes[:0], ends: b.ends[:0]}
	}
	for _, entry := range j.entries {
		if len(b.entries) >= x.c.sock.maxBatch || len(b.buf) > maxBatchBytes {
			flush()
			if err := ctx.Err(); err != nil {
				return errors.Join(append(errs, err)...)
			}
		}
		i, err := x.of(j.link(entry))
		if err == nil {
			err = j.encode(&b.encoder, i, entry)
		}
		if err != nil {
			if j.op != "delete" || !gone(err) {
				fail(entry, err)
			}
			continue
		}
		b.entries, b.indexes, b.ends = append(b.entries, entry), append(b.indexes, i), append(b.ends, len(b.buf))
	}
	if len(b.entries) > 0 {
		flush()
	}
	return errors.Join(errs...)
}

// send sends a batch. If its replies got lost, it is sent again in halves:
// setting or deleting an entry twice is the same as once.
func (b *batch[E]) send(s *socket, j job[E], fail func(E, error)) {
	var failed []int
	var why []error
	err := s.exchange(b.buf, len(b.entries), func(i int, err error) {
		switch {
		case j.op == "delete" && gone(err):
		case j.op == "set" && j.insist == nil && errors.Is(err, unix.EEXIST):
		default:
			failed, why = append(failed, i), append(why, err)
		}
	})
	if errors.Is(err, errLost) && len(b.entries) > 1 {
		lo, hi := b.halves()
		lo.send(s, j, fail)
		hi.send(s, j, fail)
		return
	}
	if err != nil {
		for _, entry := range b.entries {
			fail(entry, err)
		}
		return
	}
	for k, i := range failed {
		if j.insist != nil {
			why[k] = j.insist(b.indexes[i], b.entries[i], why[k])
		}
		fail(b.entries[i], why[k])
	}
}

func (b *batch[E]) halves() (lo, hi *batch[E]) {
	n := len(b.entries) / 2
	at := b.ends[n-1]
	lo = &batch[E]{encoder{buf: slices.Clone(b.buf[:at])}, b.entries[:n], b.indexes[:n], b.ends[:n]}
	hi = &batch[E]{encoder{buf: slices.Clone(b.buf[at:])}, b.entries[n:], b.indexes[n:], slices.Clone(b.ends[n:])}
	for i := range hi.ends {
		hi.ends[i] -= at
	}
	return lo, hi
}
