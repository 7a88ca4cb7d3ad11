// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watch calls kick once when it listens, and then whenever links, addresses,
// routes, neighbors, forwarding entries or forwarding itself changed, or events
// were lost because they came too fast. It blocks until ctx ends, which is no error. Changes by
// this Conn itself count. Neighbors come and go all the time on links full of
// pods: once Read has been called, those outside its newest Scope do not count.
func (c *Conn) Watch(ctx context.Context, kick func()) error {
	f, err := c.listen()
	if err == nil {
		err = c.follow(ctx, f, kick)
	}
	if err != nil {
		return fmt.Errorf("watch the kernel: %w", err)
	}
	return nil
}

// follow is Watch on a socket that listens; it closes it.
func (c *Conn) follow(ctx context.Context, f *os.File, kick func()) error {
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for kick(); ctx.Err() == nil; {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, failed = unix.Read(int(fd), buf)
			return !errors.Is(failed, unix.EAGAIN)
		})
		switch {
		case ctx.Err() != nil || errors.Is(failed, unix.EINTR):
		case errors.Is(failed, unix.ENOBUFS):
			kick()
		case err != nil || failed != nil:
			return errors.Join(err, failed)
		case c.concerns(buf[:n]):
			c.blame(buf[:n], time.Now())
			kick()
		}
	}
	return nil
}

// listen opens a socket that hears of all changes.
func (c *Conn) listen() (*os.File, error) {
	fd := -1
	err := c.inside(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, err
	}
	growReceiveBuffer(fd)
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, group := range []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF, // settings such as forwarding
	} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// concerns reports whether any of the events in b may be about what is ours.
func (c *Conn) concerns(b []byte) bool {
	last := c.seen.Load()
	for m := range messages(b) {
		isNeighbor := m.typ == unix.RTM_NEWNEIGH || m.typ == unix.RTM_DELNEIGH
		if !isNeighbor || last == nil || len(m.body) < neighHdrLen || last.ours[int32(native.Uint32(m.body[4:]))] {
			return true
		}
	}
	return false
}
