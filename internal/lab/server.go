// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// stampBytes is the size of what a server puts over the start of an answer:
// the address, as 16 bytes, that it saw the packet come from. An answer is as
// long as what it answers.
const stampBytes = 16

// A server answers in one pod, over UDP and TCP, on each of its addresses.
type server struct {
	pod  Pod
	port uint16
	mtu  int // bytes; of the pod's link
	udp  []*net.UDPConn
	tcp  []*net.TCPListener
}

// serve opens the sockets in the pod's namespace, where they stay, and answers
// until close.
func serve(p Pod, port uint16) (*server, error) {
	s := &server{pod: p, port: port}
	if err := p.NS().Do(s.listen); err != nil {
		s.close()
		return nil, err
	}
	for _, c := range s.udp {
		go echoUDP(c)
	}
	for _, l := range s.tcp {
		go echoTCP(l)
	}
	return s, nil
}

func (s *server) listen() error {
	link, err := net.InterfaceByName(UplinkName)
	if err != nil {
		return fmt.Errorf("find link %s: %w", UplinkName, err)
	}
	s.mtu = link.MTU
	for _, a := range s.pod.Addrs {
		at := netip.AddrPortFrom(a, s.port)
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		s.udp = append(s.udp, u)
		t, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return err
		}
		s.tcp = append(s.tcp, t)
	}
	return nil
}

func (s *server) close() {
	for _, c := range s.udp {
		c.Close()
	}
	for _, l := range s.tcp {
		l.Close()
	}
}

// address returns the pod's own address in the family of dst.
func (s *server) address(dst netip.Addr) (netip.Addr, error) {
	for _, a := range s.pod.Addrs {
		if a.Is4() == dst.Is4() {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("pod has no address to reach %s from", dst)
}

// echoUDP sends each datagram back, stamped, until the socket is closed.
func echoUDP(c *net.UDPConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n >= stampBytes {
			stamp(buf, from.Addr())
			c.WriteToUDPAddrPort(buf[:n], from) // a lost answer is the asker's finding
		}
	}
}

// echoTCP sends what each connection brings back, stamped, until the socket is
// closed.
func echoTCP(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			var head [stampBytes]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			stamp(head[:], c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
			if _, err := c.Write(head[:]); err == nil {
				io.Copy(c, c)
			}
		}()
	}
}

func stamp(b []byte, from netip.Addr) {
	a := from.As16()
	copy(b, a[:])
}

// readStamp takes an answer apart: the address that the server saw, and the
// rest.
func readStamp(b []byte) (netip.Addr, []byte, error) {
	if len(b) < stampBytes {
		return netip.Addr{}, nil, fmt.Errorf("answer of %d bytes: want %d or more", len(b), stampBytes)
	}
	return netip.AddrFrom16([16]byte(b[:stampBytes])).Unmap(), b[stampBytes:], nil
}
