// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	nft "github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// inside runs fn on a thread that is in namespace ns: the present one if it is,
// since entering a namespace, even one's own, needs CAP_SYS_ADMIN, which an
// agent in the namespace of its node does without.
func inside(ns *os.File, fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	st, err := ns.Stat()
	if err != nil {
		return err
	}
	if os.SameFile(own, st) {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: a thread that has left its namespace ends here.
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// conn returns a connection for one transaction; the caller ends it with
// CloseLasting. It is lasting since any other is dialled by each call, in the
// namespace of whichever thread calls.
func (f *Firewall) conn() (c *nft.Conn, err error) {
	err = inside(f.ns, func() (err error) {
		c, err = nft.New(nft.AsLasting(), nft.WithSockOptions(func(c *netlink.Conn) error {
			return errors.Join(c.SetDeadline(time.Now().Add(patience)), f.signs(c))
		}))
		return err
	})
	return c, err
}

// signs has Watch know what is written over a connection as ours.
func (f *Firewall) signs(c *netlink.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var nameErr error
	err = raw.Control(func(fd uintptr) {
		var name unix.Sockaddr
		if name, nameErr = unix.Getsockname(int(fd)); nameErr == nil {
			if netlink, ok := name.(*unix.SockaddrNetlink); ok {
				f.writesFrom(netlink.Pid)
			}
		}
	})
	return errors.Join(err, nameErr)
}
