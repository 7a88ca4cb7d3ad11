// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// lockFile is opened and closed by legacy iptables each time that it changes
// rules. iptables creates it, empty, with this mode.
const (
	lockFile = "/run/xtables.lock"
	lockMode = 0o600
)

// Watch calls kick when rules may have changed, whoever changed them, and once
// as soon as it would notice a change. It blocks until ctx ends, and returns
// ctx's error then. kick must not block; it may be called from two goroutines.
// It watches the namespace of the caller's thread.
//
// The kernel announces what the nf_tables variant changes. What the legacy one
// changes shows only by the lock that it takes. Where neither can be watched,
// Watch just waits.
func (f *Firewall) Watch(ctx context.Context, kick func()) error {
	tables, errTables := watchTables()
	lock, errLock := watchLock()
	g, ctx := errgroup.WithContext(ctx)
	if errTables == nil {
		g.Go(func() error { return wait(ctx, tables, concerns, kick) })
	}
	if errLock == nil {
		g.Go(func() error { return wait(ctx, lock, func([]byte) bool { return true }, kick) })
	}
	kick()
	g.Go(func() error {
		<-ctx.Done()
		return ctx.Err()
	})
	return g.Wait()
}

// wait calls kick for what comes from file and concerns us, and closes file.
func wait(ctx context.Context, file *os.File, concerns func([]byte) bool, kick func()) error {
	defer file.Close()
	defer context.AfterFunc(ctx, func() { file.Close() })()
	buf := make([]byte, 64<<10)
	for {
		n, err := file.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			kick() // more came than the socket holds
		case err != nil:
			return fmt.Errorf("watch rules: %w", err)
		case concerns(buf[:n]):
			kick()
		}
	}
}

// watchTables returns a socket to which the kernel tells changes of nf_tables.
func watchTables() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "netfilter"), nil
}

// watchLock returns an inotify file that tells when the lock is let go.
func watchLock() (*os.File, error) {
	lock, err := os.OpenFile(lockFile, os.O_RDONLY|os.O_CREATE, lockMode)
	if err != nil {
		return nil, err
	}
	if err := lock.Close(); err != nil {
		return nil, err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, lockFile, unix.IN_CLOSE); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// concerns reports whether notifications are about a table that we have chains
// in. Each message names the table in its first attribute, behind 4 bytes of
// header.
func concerns(b []byte) bool {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return true // cannot tell
	}
	const at = 4 + unix.SizeofNlAttr
	return slices.ContainsFunc(msgs, func(m syscall.NetlinkMessage) bool {
		if len(m.Data) < at || m.Data[0] != unix.NFPROTO_IPV4 && m.Data[0] != unix.NFPROTO_IPV6 {
			return false
		}
		for _, table := range [...]string{"raw\x00", "filter\x00", "nat\x00"} {
			if len(m.Data) >= at+len(table) && string(m.Data[at:at+len(table)]) == table {
				return true
			}
		}
		return false
	})
}
