// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel's rules are read over a socket of our own: the library does not
// say when a dump was interrupted, and leaves out expressions that it does not
// know.

// errInterrupted says that the ruleset changed while it was read.
var errInterrupted = errors.New("ruleset changed while it was read")

// socketBuffer holds one datagram of the kernel, in bytes; it sends up to
// 32 KiB at once.
const socketBuffer = 64 << 10

// patience bounds the wait for the next answer of the kernel, and for all
// answers to one transaction.
const patience = 10 * time.Second

// genHeader is the size of what precedes the attributes of each message about
// rules (struct nfgenmsg), in bytes.
const genHeader = 4

// open returns a netlink socket to the packet filter of namespace ns.
func open(ns *os.File, groups ...int) (*os.File, error) {
	fd := -1
	err := inside(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netfilter socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netfilter")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind netfilter socket: %w", err), f.Close())
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return nil, errors.Join(fmt.Errorf("join netfilter group %d: %w", g, err), f.Close())
		}
	}
	return f, nil
}

// A query asks for objects of one family.
type query struct {
	family byte   // NFPROTO_*
	kind   int    // NFT_MSG_GET*
	dump   bool   // all objects, not one
	attrs  []byte // that they must have
}

// ask sends one query and returns the answers. An absent object is ENOENT.
func ask(f *os.File, q query) ([][]byte, error) {
	const header = unix.SizeofNlMsghdr + genHeader
	flags := unix.NLM_F_REQUEST
	if q.dump {
		flags |= unix.NLM_F_DUMP
	}
	b := make([]byte, header, header+len(q.attrs))
	binary.NativeEndian.PutUint32(b[0:], uint32(header+len(q.attrs)))
	binary.NativeEndian.PutUint16(b[4:], uint16(unix.NFNL_SUBSYS_NFTABLES<<8|q.kind))
	binary.NativeEndian.PutUint16(b[6:], uint16(flags))
	b[unix.SizeofNlMsghdr] = q.family
	if _, err := f.Write(append(b, q.attrs...)); err != nil {
		return nil, err
	}
	// The kernel answers before Write returns; the deadline is for one that
	// does not answer at all.
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	var out [][]byte
	buf := make([]byte, socketBuffer)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return nil, err
		}
		msgs, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, fmt.Errorf("parse answer: %w", err)
		}
		for _, m := range msgs {
			done, err := answer(m)
			if done || err != nil {
				return out, err
			}
			if len(m.Data) >= genHeader {
				out = append(out, append([]byte(nil), m.Data[genHeader:]...))
			}
			if !q.dump {
				return out, nil
			}
		}
	}
}

// answer reports whether m ends an answer, and how.
func answer(m syscall.NetlinkMessage) (done bool, err error) {
	switch {
	case m.Header.Flags&unix.NLM_F_DUMP_INTR != 0:
		return true, errInterrupted
	case m.Header.Type != unix.NLMSG_ERROR && m.Header.Type != unix.NLMSG_DONE:
		return false, nil
	case len(m.Data) < 4:
		return true, nil
	}
	if errno := syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data))); errno != 0 {
		return true, errno
	}
	return true, nil
}

// text encodes one attribute that is a string.
func text(kind uint16, s string) []byte {
	n := unix.SizeofNlAttr + len(s) + 1
	b := binary.NativeEndian.AppendUint16(nil, uint16(n))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, s...)
	return append(b, make([]byte, (n+3)&^3-n+1)...)
}
