// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
)

const (
	tunnelPort = 8472
	countPort  = 7009
	countEvery = 2 * time.Millisecond
)

// A face is how a packet reached a stand-in: through which tunnel endpoint, or
// plain.
type face struct {
	uplink netip.Addr  // of the outer packet; zero if there was none
	mac    network.MAC // of the inner frame
}

// A standIn is a node that runs no agent. A test writes its lease, and sees
// how each packet to its pods arrives.
type standIn struct {
	node *lab.Node

	mu   sync.Mutex      // guards what follows
	came map[uint64]face // by number
}

// addStandIn makes one whose pods have the addresses, and which is reached at
// the uplinks too that are not its own: the lab's router sends those to it.
func addStandIn(t *testing.T, l *lab.Lab, pods, uplinks []netip.Addr) *standIn {
	t.Helper()
	n, err := l.AddNode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ready(t, 2, l.Nodes()...)
	s := &standIn{node: n, came: make(map[uint64]face)}
	key := leaseKey(subnetsOf(t, n))
	if err := n.Agent(0).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, l, map[string]string{key: ""})
	output(t, n.NS(), "ip link del flannel.1")
	output(t, n.NS(), "ip link del flannel-v6.1")
	ready(t, 1, l.Node(1), l.Node(2))
	for _, a := range append(pods, uplinks...) {
		command := fmt.Sprintf("ip address add %s dev lo", netip.PrefixFrom(a, a.BitLen()))
		if a.Is6() {
			command += " nodad" // else it cannot be listened on yet
		}
		output(t, n.NS(), command)
	}
	for _, a := range uplinks {
		output(t, l.Switch(), fmt.Sprintf("ip route add %s via %s", a, sameFamily(n.Uplink(), a)))
	}
	for _, a := range append(n.Uplink(), uplinks...) {
		s.listen(t, netip.AddrPortFrom(a, tunnelPort), func(b []byte) (uint64, face, bool) { return parseTunnelled(a, b) })
	}
	for _, a := range pods {
		s.listen(t, netip.AddrPortFrom(a, countPort), func(b []byte) (uint64, face, bool) {
			return binary.BigEndian.Uint64(b), face{}, len(b) == 8
		})
	}
	return s
}

func sameFamily(all []netip.Addr, as netip.Addr) netip.Addr {
	for _, a := range all {
		if a.Is4() == as.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// listen notes each packet that comes to an address, until the test ends.
func (s *standIn) listen(t *testing.T, at netip.AddrPort, parse func([]byte) (uint64, face, bool)) {
	t.Helper()
	c := openUDP(t, s.node.NS(), func() (*net.UDPConn, error) { return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	var g errgroup.Group
	t.Cleanup(func() { c.Close(); g.Wait() })
	g.Go(func() error {
		for b := make([]byte, 2000); ; {
			n, err := c.Read(b)
			if err != nil {
				return nil // closed
			}
			if number, f, ok := parse(b[:n]); ok {
				s.mu.Lock()
				s.came[number] = f
				s.mu.Unlock()
			}
		}
	})
}

func openUDP(t *testing.T, ns netns.NS, open func() (*net.UDPConn, error)) (c *net.UDPConn) {
	t.Helper()
	err := ns.Do(func() (err error) {
		c, err = open()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// parseTunnelled reads the number in a counted packet that came through a
// tunnel: VXLAN 8 bytes, Ethernet 14, IP 20 or 40, UDP 8, and the number.
func parseTunnelled(uplink netip.Addr, b []byte) (uint64, face, bool) {
	at := 8 + 14 + 20
	if uplink.Is6() {
		at = 8 + 14 + 40
	}
	if len(b) != at+16 || binary.BigEndian.Uint16(b[at+2:]) != countPort {
		return 0, face{}, false
	}
	return binary.BigEndian.Uint64(b[at+8:]), face{uplink, network.MAC(b[8:14])}, true
}

// A count sends numbered packets from a pod to one of a stand-in.
type count struct {
	to    *standIn
	base  uint64 // of its numbers, so that several can be told apart
	stop  context.CancelFunc
	done  errgroup.Group
	mu    sync.Mutex
	total uint64 // sent so far
}

func startCount(t *testing.T, from lab.Pod, to *standIn, pod netip.Addr) *count {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &count{to: to, stop: stop}
	if pod.Is6() {
		c.base = 1 << 32
	}
	conn := openUDP(t, from.NS(), func() (*net.UDPConn, error) {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(pod, countPort)))
	})
	c.done.Go(func() error {
		defer conn.Close()
		tick := time.NewTicker(countEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				c.mu.Lock()
				c.total++
				conn.Write(binary.BigEndian.AppendUint64(nil, c.base+c.total)) // what cannot be sent counts as lost
				c.mu.Unlock()
			}
		}
	})
	return c
}

// sent returns how many packets were sent so far.
func (c *count) sent() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// lost returns the numbers after from, up to upto, that did not come.
func (c *count) lost(from, upto uint64) (missing []uint64) {
	c.to.mu.Lock()
	defer c.to.mu.Unlock()
	for i := from + 1; i <= upto; i++ {
		if _, ok := c.to.came[c.base+i]; !ok {
			missing = append(missing, i)
		}
	}
	return missing
}

// faces returns how the packets after from, up to upto, came: each way once, in
// order of its first packet.
func (c *count) faces(from, upto uint64) (ways []face) {
	c.to.mu.Lock()
	defer c.to.mu.Unlock()
	seen := make(map[face]bool)
	for i := from + 1; i <= upto; i++ {
		if f, ok := c.to.came[c.base+i]; ok && !seen[f] {
			seen[f] = true
			ways = append(ways, f)
		}
	}
	return ways
}

func (c *count) end() {
	c.stop()
	c.done.Wait()
}
