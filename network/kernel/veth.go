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
// same. The other end is born in its namespace, so that nothing sees it under
// another name or in another place. After an error there is neither end.
func AddVeth(a *Conn, aEnd network.Link, b *Conn, bEnd network.Link) error {
	master, err := a.required(aEnd.Master)
	if err == nil && aEnd.Hairpin && master == 0 {
		err = errors.New("hairpin mode is of a bridge's port, and it has no bridge")
	}
	if err != nil {
		return fmt.Errorf("add veth %s: %w", aEnd.Name, err)
	}
	var e encoder
	e.begin(unix.RTM_NEWLINK, createNew)
	e.newLink(aEnd)
	if master != 0 {
		e.u32(unix.IFLA_MASTER, uint32(master))
	}
	e.vethTo(b, bEnd)
	e.end()
	messages := 1
	if aEnd.Hairpin { // only a port that is there can have it
		e.begin(unix.RTM_NEWLINK, 0)
		e.ifInfo(ifInfo{})
		e.name(unix.IFLA_IFNAME, aEnd.Name)
		e.hairpin(true)
		e.end()
		messages++
	}
	var made, finished error
	err = a.sock.exchange(e.buf, messages, func(i int, err error) {
		if i == 0 {
			made = err
		} else {
			finished = err
		}
	})
	if made == nil && err == nil {
		err = finished
		if err == nil && (bEnd.Up || bEnd.Hairpin || bEnd.Master != "") { // what it could not be born with
			bEnd.Kind = network.KindVeth
			err = b.settle(context.Background(), bEnd, true)
		}
		if err != nil {
			err = errors.Join(err, a.DelLink(context.Background(), aEnd.Name))
		}
	}
	if err = cmp.Or(err, made); err != nil {
		return fmt.Errorf("add veth %s with peer %s: %w", aEnd.Name, bEnd.Name, err)
	}
	return nil
}

// vethTo appends the kind of a link that is a veth, and its other end.
func (e *encoder) vethTo(b *Conn, end network.Link) {
	info := e.nest(unix.IFLA_LINKINFO)
	e.attr(unix.IFLA_INFO_KIND, []byte(network.KindVeth))
	data := e.nest(unix.IFLA_INFO_DATA)
	peer := e.nest(vethInfoPeer)
	end.Up = false // it has no other end yet that would let it be up
	e.newLink(end)
	e.u32(unix.IFLA_NET_NS_FD, uint32(b.ns.Fd()))
	e.close(peer)
	e.close(data)
	e.close(info)
}
