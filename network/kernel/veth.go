// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// DelLink deletes the link of that name; an absent one is success. Its
// addresses, routes and entries go with it, and so does a veth's other end.
func (c *Conn) DelLink(_ context.Context, name string) error {
	index, err := c.index(name)
	if err == nil {
		var e encoder
		e.begin(unix.RTM_DELLINK, 0)
		e.ifInfo(ifInfo{index: index})
		e.end()
		err = c.change(e.buf)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// AddVeth makes a veth pair with one end in each namespace, which may be the
// same.
func AddVeth(a *Conn, aEnd network.Link, b *Conn, bEnd network.Link) error {
	return Veth{Here: a, End: aEnd, There: b, Other: bEnd}.Add()
}

// A Veth is a pair of links that are connected. Kinds do not matter.
type Veth struct {
	Here, There *Conn
	End, Other  network.Link
	Alias       string // of End: a text of at most 255 bytes that says whose it is
}

// Add makes the pair. The other end is born in its namespace, so that nothing
// sees it under another name or in another place. After an error there is
// neither end.
func (v Veth) Add() error {
	if err := v.add(); err != nil {
		return fmt.Errorf("add veth %s with peer %s: %w", v.End.Name, v.Other.Name, err)
	}
	return nil
}

func (v Veth) add() error {
	master, err := v.Here.required(v.End.Master)
	if err == nil && v.End.Hairpin && master == 0 {
		err = errors.New("hairpin mode is of a bridge's port, and it has no bridge")
	}
	if err != nil {
		return err
	}
	var e encoder
	e.begin(unix.RTM_NEWLINK, createNew)
	e.newLink(v.End)
	e.oneQueue()
	if master != 0 {
		e.u32(unix.IFLA_MASTER, uint32(master))
	}
	e.vethTo(v.There, v.Other)
	e.end()
	messages := 1
	if v.End.Hairpin || v.Alias != "" { // what only a link that is there can have
		e.begin(unix.RTM_NEWLINK, 0)
		e.ifInfo(ifInfo{})
		e.name(unix.IFLA_IFNAME, v.End.Name)
		if v.Alias != "" {
			e.attr(unix.IFLA_IFALIAS, []byte(v.Alias))
		}
		if v.End.Hairpin {
			e.hairpin(true)
		}
		e.end()
		messages++
	}
	var refused [2]error
	if err := v.Here.sock.exchange(e.buf, messages, func(i int, err error) { refused[i] = err }); err != nil {
		return err
	}
	if refused[0] != nil {
		return refused[0]
	}
	if err := cmp.Or(refused[1], v.finish()); err != nil {
		return errors.Join(err, v.Here.DelLink(context.Background(), v.End.Name))
	}
	return nil
}

// finish makes of the other end what it could not be born as.
func (v Veth) finish() error {
	other := v.Other
	if !other.Up && !other.Hairpin && other.Master == "" {
		return nil
	}
	other.Kind = network.KindVeth
	return v.There.settle(context.Background(), other, true)
}

// oneQueue appends that a link has one queue each way. A veth uses one anyway,
// but by default it is made with one per processor, and then the kernel waits
// (for RCU, with its lock for all changes of links) to take the others out of
// use (veth_init_queues, Linux 5.18): twice a pair, some 2 ms each.
func (e *encoder) oneQueue() {
	e.u32(unix.IFLA_NUM_TX_QUEUES, 1)
	e.u32(unix.IFLA_NUM_RX_QUEUES, 1)
}

// vethTo appends the kind of a link that is a veth, and its other end.
func (e *encoder) vethTo(b *Conn, end network.Link) {
	info := e.nest(unix.IFLA_LINKINFO)
	e.attr(unix.IFLA_INFO_KIND, []byte(network.KindVeth))
	data := e.nest(unix.IFLA_INFO_DATA)
	peer := e.nest(vethInfoPeer)
	end.Up = false // it has no other end yet that would let it be up
	e.newLink(end)
	e.oneQueue()
	e.u32(unix.IFLA_NET_NS_FD, uint32(b.ns.Fd()))
	e.close(peer)
	e.close(data)
	e.close(info)
}
