// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	provePort  = 7007
	tries      = 6                      // of a lost datagram
	patience   = 300 * time.Millisecond // with one datagram
	tcpTimeout = 5 * time.Second
	smallBytes = 64      // payload of the small datagram
	tcpBytes   = 1 << 16 // each way over TCP
)

// errSource says that a packet arrived bearing another source than the pod's
// own address.
var errSource = errors.New("source address changed on the way")

// A way leads from one pod to an address of another.
type way struct {
	from *server
	src  netip.Addr // our pod's own address
	dst  netip.AddrPort
}

// small sends a small datagram and wants it back.
func (w way) small(ctx context.Context) error {
	return w.withUDP(ctx, func(c *net.UDPConn) error { return w.echo(ctx, c, smallBytes) })
}

// full sends the largest datagram that the link takes, forbidding
// fragmentation, and wants it back whole; one byte more must not even leave.
func (w way) full(ctx context.Context) error {
	header := 28 // IPv4 20, UDP 8
	if w.dst.Addr().Is6() {
		header = 48
	}
	return w.withUDP(ctx, func(c *net.UDPConn) error {
		if _, err := c.Write(make([]byte, w.from.mtu-header+1)); !errors.Is(err, unix.EMSGSIZE) {
			return fmt.Errorf("send %d bytes, 1 more than the MTU: %v; want %w", w.from.mtu+1, err, unix.EMSGSIZE)
		}
		if err := w.echo(ctx, c, w.from.mtu-header); err != nil {
			return fmt.Errorf("packet of %d bytes, not to be fragmented: %w", w.from.mtu, err)
		}
		return nil
	})
}

// withUDP passes fn a datagram socket of the pod that never fragments.
func (w way) withUDP(ctx context.Context, fn func(*net.UDPConn) error) error {
	d := net.Dialer{Control: dontFragment}
	conn, err := w.dial(ctx, d, "udp")
	if err != nil {
		return err
	}
	defer conn.Close()
	return fn(conn.(*net.UDPConn))
}

// dial opens a socket in the pod, from whatever address the kernel takes.
func (w way) dial(ctx context.Context, d net.Dialer, proto string) (conn net.Conn, err error) {
	err = w.from.pod.NS().Do(func() (err error) {
		conn, err = d.DialContext(ctx, proto, w.dst.String())
		return err
	})
	return conn, err
}

// echo sends n random bytes until they come back, each time after a little
// patience, as datagrams may be lost.
func (w way) echo(ctx context.Context, c *net.UDPConn, n int) error {
	sent := make([]byte, n)
	rand.Read(sent)
	buf := make([]byte, 1<<16)
	for range tries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := c.Write(sent); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(patience))
		got, err := c.Read(buf)
		if err != nil {
			continue // lost, or refused because the server is not there
		}
		seen, data, err := readStamp(buf[:got])
		if err != nil {
			return err
		}
		if bytes.Equal(data, sent[stampBytes:]) {
			return w.checkSource(seen)
		}
	}
	return fmt.Errorf("no answer from %s to %d datagrams of %d bytes", w.dst, tries, n)
}

// tcp sends data over a connection, half-closes it and wants all back.
func (w way) tcp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tcpTimeout)
	defer cancel()
	conn, err := w.dial(ctx, net.Dialer{}, "tcp")
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	sent := make([]byte, tcpBytes)
	rand.Read(sent)
	if _, err := conn.Write(sent); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	seen, data, err := readStamp(got)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, sent[stampBytes:]) {
		return fmt.Errorf("%d of %d bytes came back over TCP, or not as sent", stampBytes+len(data), len(sent))
	}
	return w.checkSource(seen)
}

func (w way) checkSource(seen netip.Addr) error {
	if seen != w.src {
		return fmt.Errorf("%w: %s arrived as %s", errSource, w.src, seen)
	}
	return nil
}

// dontFragment sets DF on every packet of a socket: one that is larger than the
// link's or the path's MTU is an error, EMSGSIZE.
func dontFragment(network, _ string, c syscall.RawConn) error {
	var err error
	ctl := c.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	return errors.Join(ctl, err)
}
