// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/pod"
)

// batch runs ip commands in one process.
func batch(t testing.TB, ns netns.NS, lines ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := ns.Output("ip", "-batch", file); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// do runs fn in a namespace.
func do(t testing.TB, ns netns.NS, fn func() error) {
	t.Helper()
	if err := ns.Do(fn); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ready waits until links can carry packets: a link whose other end has just
// gone up drops what it is given.
func ready(t testing.TB, ns netns.NS, links ...string) {
	t.Helper()
	for _, l := range links {
		eventually(t, l+" to be up", func() bool {
			out, err := ns.Output("ip", "-o", "link", "show", l)
			return err == nil && strings.Contains(out, "state UP")
		})
	}
}

// A host is a namespace with one link, eth0, that frames are sent and received
// on as they are.
type host struct {
	ns  netns.NS
	mac network.MAC
	fd  int // takes and sends whole frames
}

func newHost(t testing.TB, mac network.MAC) *host {
	t.Helper()
	h := &host{ns: netns.Temp(t), mac: mac, fd: -1}
	return h
}

// listen opens h's socket on a link.
func (h *host) listen(t testing.TB, link string) {
	t.Helper()
	h.fd = packetSocket(t, h.ns, link)
}

func packetSocket(t testing.TB, ns netns.NS, link string) int {
	t.Helper()
	fd := -1
	do(t, ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		index, err := linkIndex(link)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16(be16(unix.ETH_P_ALL))
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func linkIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		return 0, fmt.Errorf("index of %s: %w", name, err)
	}
	return int(r.Uint32()), nil
}

func (h *host) send(t testing.TB, frame []byte) {
	t.Helper()
	if _, err := unix.Write(h.fd, frame); err != nil {
		t.Fatal(err)
	}
}

// received returns how many frames with the token have come in; others are
// forgotten.
func received(t testing.TB, fd int, token string) (count int) {
	t.Helper()
	buf := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EAGAIN {
			return count
		}
		if err != nil {
			t.Fatal(err)
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if bytes.Contains(buf[:n], []byte(token)) {
			count++
		}
	}
}

// A fate is what may become of a packet: it arrives, or a guard drops it.
type fate struct {
	send    func()
	arrived func() bool
	dropped func() uint64
}

// seen sends the packet and reports whether it arrived, once it has or a guard
// has dropped it. Of a busy kernel it may be lost on the way: then it is sent
// again.
func (f fate) seen(t testing.TB, what string) (arrived bool) {
	t.Helper()
	before := f.dropped()
	var sent time.Time
	eventually(t, what+" to arrive or be dropped", func() bool {
		if time.Since(sent) > 500*time.Millisecond {
			f.send()
			sent = time.Now()
		}
		if arrived = f.arrived(); arrived {
			return true
		}
		gone := f.dropped() > before
		arrived = f.arrived() // it may have come while the counter was read, of another packet
		return gone
	})
	return arrived
}

// Frames and packets, from the outside in.

func ether(dst, src network.MAC, kind uint16, payload []byte) []byte {
	b := append(append(append([]byte{}, dst[:]...), src[:]...), be16(kind)...)
	return append(b, payload...)
}

// ip makes a packet of either version around a payload of the protocol, whose
// checksum is set where it has one.
func ip(src, dst string, proto byte, payload []byte) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	payload = bytes.Clone(payload)
	if at := map[byte]int{unix.IPPROTO_UDP: 6, unix.IPPROTO_ICMPV6: 2}[proto]; at > 0 {
		pseudo := append(s.AsSlice(), d.AsSlice()...)
		pseudo = append(pseudo, 0, proto)
		pseudo = append(pseudo, be16(uint16(len(payload)))...)
		binary.BigEndian.PutUint16(payload[at:], checksum(append(pseudo, payload...)))
	}
	if s.Is4() {
		h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
		h = append(append(h, s.AsSlice()...), d.AsSlice()...)
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(payload)))
		binary.BigEndian.PutUint16(h[10:], checksum(h))
		return append(h, payload...)
	}
	h := []byte{0x60, 0, 0, 0, 0, 0, proto, 255}
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	return append(append(append(h, s.AsSlice()...), d.AsSlice()...), payload...)
}

func udp(from, to uint16, payload string) []byte {
	b := append(be16(from), be16(to)...)
	b = append(append(b, be16(uint16(8+len(payload)))...), 0, 0)
	return append(b, payload...)
}

func icmp(kind byte, payload ...[]byte) []byte {
	b := []byte{kind, 0, 0, 0, 0, 0, 0, 0}
	for _, p := range payload {
		b = append(b, p...)
	}
	return b
}

func arp(op uint16, sha network.MAC, spa string, tpa string) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4}, be16(op)...)
	b = append(append(b, sha[:]...), netip.MustParseAddr(spa).AsSlice()...)
	return append(append(b, make([]byte, 6)...), netip.MustParseAddr(tpa).AsSlice()...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for len(b) > 1 {
		sum += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func sender(port string, mac network.MAC, addrs ...string) pod.Sender {
	s := pod.Sender{Port: port, MAC: mac}
	for _, a := range addrs {
		s.Addrs = append(s.Addrs, netip.MustParseAddr(a))
	}
	return s
}

// forwarding lets packets through the namespace of the calling thread.
func forwarding() error {
	for _, path := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte("1"), 0); err != nil {
			return err
		}
	}
	return nil
}
