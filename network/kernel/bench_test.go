// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

var peerCounts = []int{1000, 5000, 15000}

// millis reports the time of one operation in the unit of the project's
// figures.
func millis(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/op")
}

// freshTunnel makes the overlay device anew, without entries.
func freshTunnel(b *testing.B, n node) {
	b.Helper()
	if err := n.DelLink(b.Context(), "flannel.1"); err != nil {
		b.Fatal(err)
	}
	if err := n.Apply(b.Context(), network.Changes{SetLinks: []network.Link{tunnel("flannel.1", 1, "192.0.2.1")}}); err != nil {
		b.Fatal(err)
	}
}

// peerChanges lists what sets n IPv4 peers.
func peerChanges(n int) network.Changes {
	s := network.NewState()
	peers(s, n, true, false)
	return network.Compare(network.NewState(), s)
}

func BenchmarkApplyPeers(b *testing.B) {
	for _, count := range peerCounts {
		b.Run(fmt.Sprint(count), func(b *testing.B) { benchApply(b, peerChanges(count)) })
	}
}

// BenchmarkApplyPeersOneMetric shows what the distinct metric avoids: without
// it, the kernel's search for an equal next hop makes N routes cost N².
func BenchmarkApplyPeersOneMetric(b *testing.B) {
	for _, count := range peerCounts[:2] {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			ch := peerChanges(count)
			for i := range ch.SetRoutes {
				ch.SetRoutes[i].Metric = 0
			}
			benchApply(b, ch)
		})
	}
}

// BenchmarkApplyPeersIPv6 has IPv6 routes and neighbors, which the kernel keeps
// in other structures.
func BenchmarkApplyPeersIPv6(b *testing.B) {
	for _, count := range peerCounts {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			s := network.NewState()
			peers(s, count, false, true)
			benchApply(b, network.Compare(network.NewState(), s))
		})
	}
}

func benchApply(b *testing.B, ch network.Changes) {
	n := newNode(b)
	for range b.N {
		b.StopTimer()
		freshTunnel(b, n)
		b.StartTimer()
		if err := n.Apply(b.Context(), ch); err != nil {
			b.Fatal(err)
		}
	}
	millis(b)
}

// BenchmarkChangeLocal moves the tunnel to another address of the uplink.
func BenchmarkChangeLocal(b *testing.B) {
	for _, count := range peerCounts {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			n, s := newNode(b), overlay(count)
			n.reach(b, scope, s)
			l := s.Links["flannel.1"]
			for i := range b.N {
				l.VXLAN.Local = netip.AddrFrom4([4]byte{192, 0, 2, byte(2 - i%2)})
				if err := n.Apply(b.Context(), network.Changes{SetLinks: []network.Link{l}}); err != nil {
					b.Fatal(err)
				}
			}
			millis(b)
		})
	}
}

// BenchmarkFloor is what the kernel needs for the same messages: encoded
// beforehand, sent as they are, one acknowledgement per batch, nothing kept.
func BenchmarkFloor(b *testing.B) {
	for _, count := range peerCounts {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			n, ch := newNode(b), peerChanges(count)
			for range b.N {
				b.StopTimer()
				freshTunnel(b, n)
				batches := encodeAll(b, n, ch)
				b.StartTimer()
				sendAll(b, n, batches)
			}
			millis(b)
		})
	}
}

func encodeAll(b *testing.B, n node, ch network.Changes) (batches [][]byte) {
	b.Helper()
	link, err := n.index("flannel.1")
	if err != nil {
		b.Fatal(err)
	}
	var e encoder
	flush := func() {
		if len(e.buf) > 0 {
			n.sock.numberLocked(e.buf)
			batches, e = append(batches, e.buf), encoder{}
		}
	}
	add := func(i int, err error) {
		if err != nil {
			b.Fatal(err)
		}
		if i%maxBatch == maxBatch-1 {
			flush()
		}
	}
	for i, f := range ch.SetForwards {
		add(i, e.forward(unix.RTM_NEWNEIGH, link, f))
	}
	flush()
	for i, nb := range ch.SetNeighbors {
		add(i, e.neighbor(unix.RTM_NEWNEIGH, link, nb))
	}
	flush()
	for i, r := range ch.SetRoutes {
		add(i, e.route(unix.RTM_NEWROUTE, link, r))
	}
	flush()
	return batches
}

func sendAll(b *testing.B, n node, batches [][]byte) {
	b.Helper()
	for _, batch := range batches {
		if err := n.sock.sendLocked(batch); err != nil {
			b.Fatal(err)
		}
		data, err := n.sock.receiveLocked()
		if err != nil {
			b.Fatal(err)
		}
		for m := range messages(data) {
			if err := m.err(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkReadPeers(b *testing.B) {
	for _, count := range peerCounts {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			n := newNode(b)
			freshTunnel(b, n)
			if err := n.Apply(b.Context(), peerChanges(count)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if s := n.read(b, scope); len(s.Routes) != count || len(s.Neighbors) != count || len(s.Forwards) != count {
					b.Fatalf("read %d routes, %d neighbors, %d forwards; want %d each", len(s.Routes), len(s.Neighbors), len(s.Forwards), count)
				}
			}
			millis(b)
		})
	}
}
