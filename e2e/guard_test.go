// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	nft "github.com/google/nftables"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/internal/status"
)

const victimPort = 7000

// A forgery is a datagram that ought not to reach a pod.
type forgery struct {
	name   string
	ns     netns.NS
	from   netip.Addr
	to     netip.AddrPort
	inner  netip.Addr // in the tunnel packet that it is; zero: it is none
	honest bool
}

// send sends f with its name in it.
func (f forgery) send(t *testing.T, victim netip.Addr, mac []byte) {
	t.Helper()
	b := []byte(f.name)
	if f.inner.IsValid() {
		b = slices.Concat([]byte{8, 0, 0, 0, 0, 0, 1, 0}, mac, []byte{2, 2, 2, 2, 2, 2, 8, 0}, datagram(f.inner, victim, b))
	}
	err := f.ns.Do(func() error {
		c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.from, 0)), net.UDPAddrFromAddrPort(f.to))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(b)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
}

// datagram makes an IPv4 packet with a UDP datagram without checksum in it.
func datagram(from, to netip.Addr, b []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	h = slices.Concat(h, from.AsSlice(), to.AsSlice())
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+8+len(b)))
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum>>16+sum&0xffff))
	udp := binary.BigEndian.AppendUint16(nil, 9)
	udp = binary.BigEndian.AppendUint16(udp, victimPort)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(b)))
	return slices.Concat(h, udp, []byte{0, 0}, b)
}

// A besieged node has a pod that listens.
type besieged struct {
	lab    *lab.Lab
	victim *net.UDPConn
	addr   netip.Addr
	mac    []byte // of the node's tunnel device
}

func (b *besieged) forgeries() []forgery {
	n1, n2, n3 := b.lab.Node(1), b.lab.Node(2), b.lab.Node(3)
	tunnel := netip.AddrPortFrom(n1.Uplink()[0], 8472)
	outside := netip.MustParseAddr("192.168.77.200")
	pod2, pod3 := n2.Pods()[0], n3.Pods()[0]
	return []forgery{
		{"an unknown host, as a peer's pod", n3.NS(), outside, tunnel, pod2.Addrs[0], false},
		{"a peer, as another peer's pod", n2.NS(), n2.Uplink()[0], tunnel, pod3.Addrs[0], false},
		{"a peer, as a pod of the node", n2.NS(), n2.Uplink()[0], tunnel, b.addr.Next(), false},
		{"a pod, as a peer", pod2.NS(), pod2.Addrs[0], tunnel, pod2.Addrs[0], false},
		{"a pod, to the gateway", pod2.NS(), pod2.Addrs[0], netip.AddrPortFrom(n1.Pods()[0].Addrs[0].Prev(), 8472), pod2.Addrs[0], false},
		{"a pod of the node, as a peer", n1.Pods()[0].NS(), b.addr, tunnel, pod2.Addrs[0], false},
		{"a peer, as its own pod", n2.NS(), n2.Uplink()[0], tunnel, pod2.Addrs[0], true},
		{"a peer's node", n2.NS(), n2.Uplink()[0], tunnel, n2.Uplink()[0], true},
		{"a pod", pod3.NS(), pod3.Addrs[0], netip.AddrPortFrom(b.addr, victimPort), netip.Addr{}, true},
	}
}

// arrived sends all forgeries, and at last the honest packets, until these are
// there, and returns what reached the pod.
func (b *besieged) arrived(t *testing.T, want func(got map[string]bool) error) {
	t.Helper()
	got, buf := make(map[string]bool), make([]byte, 2000)
	eventually(t, func() error {
		for _, f := range b.forgeries() {
			f.send(t, b.addr, b.mac)
		}
		if err := b.victim.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		for {
			n, _, err := b.victim.ReadFromUDPAddrPort(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return want(got)
			}
			if err != nil {
				return err
			}
			got[string(buf[:n])] = true
		}
	})
}

// TestGuards tries to reach a pod by forged packets, from a host outside of the
// cluster, from a peer and from pods, with the guards and without.
func TestGuards(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 3, Pods: 1})
	n1 := l.Node(1)
	b := &besieged{lab: l, addr: n1.Pods()[0].Addrs[0]}
	output(t, l.Node(3).NS(), "ip address add 192.168.77.200/32 dev eth0")
	for _, n := range l.Nodes() { // answers are of no interest, and forged sources lead elsewhere
		output(t, n.NS(), "sysctl -qw net.ipv4.conf.all.rp_filter=0")
	}
	await(t, n1, func(s status.Status) error {
		if s.Guards.Tunnel != "on" || s.Guards.Origins != 4 || s.Guards.Pods != 1 {
			return fmt.Errorf("guards %+v; want the tunnel on for 4 sources, and 1 pod", s.Guards)
		}
		mac, err := hex.DecodeString(strings.ReplaceAll(s.Devices[0].MAC, ":", ""))
		b.mac = mac
		return err
	})
	err := n1.Pods()[0].NS().Do(func() (err error) {
		b.victim, err = net.ListenUDP("udp4", &net.UDPAddr{Port: victimPort})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.victim.Close()

	honest := func(got map[string]bool) error {
		for _, f := range b.forgeries() {
			switch {
			case f.honest && !got[f.name]:
				return fmt.Errorf("arrived: %v; want %s", got, f.name)
			case !f.honest && got[f.name]:
				t.Fatalf("arrived: %v; want nothing of %s", got, f.name)
			}
		}
		return nil
	}
	b.arrived(t, honest)
	prove(t, l)

	// A pod more lets the agent look at once.
	if _, err := n1.AddPod(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		for _, f := range b.forgeries() { // it lasts
			f.send(t, b.addr, b.mac)
		}
		s, err := n1.Agent(0).Status(t.Context())
		for _, p := range s.Problems {
			if p.Part == "tunnel" && strings.Contains(p.Seen, "n3") && strings.Contains(p.Seen, "--public-ip="+l.Node(2).Uplink()[0].String()) {
				return nil
			}
		}
		return fmt.Errorf("problems %v, guards %+v, %v; want the peer named whose packets came from elsewhere", s.Problems, s.Guards, err)
	})

	// A table that is gone comes back.
	for _, table := range []nft.Table{
		{Name: "percale-tunnel", Family: nft.TableFamilyINet}, {Name: "percale-guard", Family: nft.TableFamilyBridge},
	} {
		err := n1.NS().Do(func() error {
			c, err := nft.New()
			if err != nil {
				return err
			}
			c.DelTable(&table)
			return c.Flush()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	await(t, n1, func(s status.Status) error {
		if len(s.Guards.Entries) == 0 {
			return fmt.Errorf("guards %+v; want repairs", s.Guards)
		}
		return nil
	})
	b.arrived(t, honest)

	put(t, l, map[string]string{"/config": `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","Guard":false}}`})
	for _, n := range l.Nodes() {
		await(t, n, func(s status.Status) error {
			if s.Guards.Tunnel != "off in net-conf" || !s.Ready {
				return fmt.Errorf("guards %+v; want that of the tunnel off", s.Guards)
			}
			return nil
		})
	}
	b.arrived(t, func(got map[string]bool) error {
		for _, f := range b.forgeries() {
			if !got[f.name] {
				return fmt.Errorf("without guard arrived: %v; want %s", got, f.name)
			}
		}
		return nil
	})
}
