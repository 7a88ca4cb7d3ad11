// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	receiveBuffer = 8 << 20  // bytes asked of the kernel for replies
	replyCost     = 2 << 10  // bytes that one reply takes of it, at most
	maxBatch      = 512      // messages in one send
	maxBatchBytes = 60 << 10 // bytes in one send; the default send buffer takes 208 KiB
	dumpTries     = 10
)

// ErrDumpInterrupted means that a list changed each time while it was read, so
// that entries may be missing. Reading again later helps.
var ErrDumpInterrupted = errors.New("the kernel's list changed while it was read")

// errLost means that replies did not fit into the receive buffer.
var errLost = errors.New("the kernel's replies got lost")

// A socket is a route-netlink socket. It is safe for concurrent use.
type socket struct {
	writes   atomic.Uint64 // messages sent that ask for a change
	strict   bool          // the kernel filters dumps (Linux 4.20)
	maxBatch int
	port     uint32 // by which notifications name us

	mu  sync.Mutex // guards what is below
	fd  int
	seq uint32
	buf []byte // of one datagram
}

// openSocket opens a socket in the namespace of the calling thread.
func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind netlink socket: %w", err)
	}
	own, err := unix.Getsockname(fd)
	name, ok := own.(*unix.SockaddrNetlink)
	if err != nil || !ok {
		unix.Close(fd)
		return nil, fmt.Errorf("name netlink socket: %w", err)
	}
	s := &socket{fd: fd, port: name.Pid, buf: make([]byte, 64<<10)}
	growReceiveBuffer(fd)
	// Without these two, errors are only longer and without a text.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	s.strict = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1) == nil
	s.maxBatch = 1
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
		s.maxBatch = max(1, min(maxBatch, n/replyCost))
	}
	return s, nil
}

// growReceiveBuffer makes room for replies and events; without CAP_NET_ADMIN
// in the first user namespace only up to net.core.rmem_max.
func growReceiveBuffer(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
}

func (s *socket) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

// sendLocked sends whole messages. The kernel has handled them when it returns,
// and the replies wait to be received.
func (s *socket) sendLocked(b []byte) error {
	for {
		err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("send to the kernel: %w", err)
		}
	}
}

// receiveLocked returns the next datagram, which is valid until the next call.
// After errLost, nothing waits to be received.
func (s *socket) receiveLocked() ([]byte, error) {
	lost := false
	for {
		n, err := unix.Read(s.fd, s.buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS), err == nil && lost:
			lost = true // what is left is in the way of new replies
		case errors.Is(err, unix.EAGAIN):
			return nil, errLost
		case err != nil:
			return nil, fmt.Errorf("receive from the kernel: %w", err)
		default:
			return s.buf[:n], nil
		}
	}
}

// exchange sends the n messages in b at once and calls fail for each that the
// kernel refused, by position. Only the last one asks for an acknowledgement:
// the others report errors anyway, and all of them before it. An error means
// that it is not known what was done.
func (s *socket) exchange(b []byte, n int, fail func(i int, err error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes.Add(uint64(n))
	first := s.numberLocked(b)
	if err := s.sendLocked(b); err != nil {
		return err
	}
	for {
		data, err := s.receiveLocked()
		if err != nil {
			return err
		}
		for m := range messages(data) {
			i := int(m.seq - first)
			if i < 0 || i >= n || m.typ != unix.NLMSG_ERROR {
				continue // of an exchange that broke off
			}
			if err := m.err(); err != nil {
				fail(i, err)
			}
			if i == n-1 {
				return nil
			}
		}
	}
}

// numberLocked gives each message in b its sequence number, and the last one
// the flag that asks for an acknowledgement. It returns the first number.
func (s *socket) numberLocked(b []byte) (first uint32) {
	first = s.seq + 1
	for len(b) > 0 {
		s.seq++
		native.PutUint32(b[8:], s.seq)
		n := int(native.Uint32(b))
		if n >= len(b) {
			native.PutUint16(b[6:], native.Uint16(b[6:])|unix.NLM_F_ACK)
			return first
		}
		b = b[n:]
	}
	return first
}

// ask sends one request and calls fn with its answer, if there is one.
func (s *socket) ask(b []byte, fn func(body []byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.numberLocked(b)
	if err := s.sendLocked(b); err != nil {
		return err
	}
	for {
		data, err := s.receiveLocked()
		if err != nil {
			return err
		}
		for m := range messages(data) {
			switch {
			case m.seq != first:
			case m.typ == unix.NLMSG_ERROR:
				return m.err()
			default:
				fn(m.body)
			}
		}
	}
}

// dump returns what decode makes of each message that the request yields.
func dump[T any](ctx context.Context, s *socket, request []byte, decode func(body []byte) (T, bool)) ([]T, error) {
	var all []T
	err := s.stream(ctx, [][]byte{request}, func() { all = nil }, func(body []byte) {
		if v, ok := decode(body); ok {
			all = append(all, v)
		}
	})
	return all, err
}

// stream calls fn for each message that the requests yield. While the kernel
// says that the list changed under it, it calls reset and begins again; what
// fn gathered counts only if there is no error.
func (s *socket) stream(ctx context.Context, requests [][]byte, reset func(), fn func(body []byte)) error {
	for range dumpTries {
		interrupted := false
		for _, request := range requests {
			if err := ctx.Err(); err != nil {
				return err
			}
			changed, err := s.dumpOnce(request, fn)
			if err != nil {
				return err
			}
			interrupted = interrupted || changed
		}
		if !interrupted {
			return nil
		}
		reset()
	}
	return ErrDumpInterrupted
}

func (s *socket) dumpOnce(request []byte, fn func(body []byte)) (interrupted bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	native.PutUint32(request[8:], s.seq)
	if err := s.sendLocked(request); err != nil {
		return false, err
	}
	for {
		data, err := s.receiveLocked()
		if err != nil {
			return false, err
		}
		for m := range messages(data) {
			if m.seq != s.seq {
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return interrupted, m.err()
			default:
				fn(m.body)
			}
		}
	}
}
