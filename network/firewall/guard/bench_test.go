// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/pod"
)

// A mode is one way to have the guards in a comparison.
type mode struct {
	name string
	set  func(b *testing.B)
}

// compare sends frames in each mode in turn, and reports the median time of one
// packet, in ns, from the sender's system call to the receiver's socket: on one
// CPU all of it is done within the call.
func compare(b *testing.B, h *host, frame []byte, modes []mode) {
	const rounds, packets = 41, 4000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		b.Fatal(err)
	}
	one.Set(0)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		b.Skip(err) // CPU 0 is not ours
	}
	defer unix.SchedSetaffinity(0, &was)
	took := make([][]float64, len(modes))
	for b.Loop() {
		for range rounds {
			for i, m := range modes {
				m.set(b)
				began := cpuTime(b)
				for range packets {
					h.send(b, frame)
				}
				took[i] = append(took[i], float64((cpuTime(b)-began).Nanoseconds())/packets)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing
	for i, m := range modes {
		slices.Sort(took[i])
		b.ReportMetric(took[i][len(took[i])/2], m.name+"-ns/packet")
	}
}

// cpuTime returns what this thread has spent so far, in which other processes
// have no share.
func cpuTime(b *testing.B) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// many returns that many pods, of which the first two are a site's.
func many(n int) []pod.Sender {
	all := senders()
	for i := len(all); i < n; i++ {
		all = append(all, sender(fmt.Sprintf("veth%04d", i), network.MAC{0x0a, 0x58, 10, 244, 2, byte(i)},
			fmt.Sprintf("10.244.2.%d", i%256), fmt.Sprintf("fd00::2:%x", i)))
	}
	return all
}

// BenchmarkPods compares what a packet from pod to pod takes.
func BenchmarkPods(b *testing.B) {
	for _, f := range []frame{
		v4("IPv4", addrA, addrB, unix.IPPROTO_UDP, asUDP(9, 9)),
		v6("IPv6", addrA6, addrB6, unix.IPPROTO_UDP, asUDP(9, 9)),
	} {
		b.Run(f.name, func(b *testing.B) {
			s := newSite(b)
			with := func(n int) func(*testing.B) {
				return func(b *testing.B) {
					do(b, s.node, func() error {
						if _, err := ClearPods(); err != nil || n == 0 {
							return err
						}
						var g Pods
						_, err := g.Sync(many(n), time.Now())
						return err
					})
				}
			}
			compare(b, s.a, f.bytes("sixty-four bytes or so"), []mode{{"off", with(0)}, {"2-pods", with(2)}, {"250-pods", with(250)}})
		})
	}
}

// crowd returns the origins of that many peers, as the agent makes them.
func crowd(n int) map[firewall.Origin]bool {
	all := peers()
	for i := range n {
		up := netip.AddrFrom4([4]byte{172, 16 + byte(i>>16), byte(i >> 8), byte(i)})
		all[firewall.Origin{Peer: up, Pods: netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0}), 24)}] = true
		all[firewall.Origin{Peer: up, Pods: netip.PrefixFrom(up, 32)}] = true
	}
	return all
}

// BenchmarkTunnel compares what a packet takes that comes out of the tunnel.
func BenchmarkTunnel(b *testing.B) {
	for _, p := range []packet{{"IPv4", peer, "10.244.2.7", nil}, {"IPv6", peer6, "fd00:2::7", nil}} {
		b.Run(p.name, func(b *testing.B) {
			d, g := newBorder(b), NewTunnel("percale")
			clear := func(b *testing.B) { do(b, d.node, func() error { _, err := g.Clear(); return err }) }
			with := func(want map[firewall.Origin]bool) func(*testing.B) {
				return func(b *testing.B) { clear(b); d.sync(b, g, want, false) }
			}
			compare(b, d.wire, p.frame(d, "sixty-four bytes or so"), []mode{
				{"off", clear}, {"5-peers", with(peers())}, {"1000-peers", with(crowd(1000))},
			})
		})
	}
}

// BenchmarkManyPeers measures what a cluster of 15,000 peers costs.
func BenchmarkManyPeers(b *testing.B) {
	d, g := newBorder(b), NewTunnel("percale")
	all := crowd(15000)
	one := origins("192.0.2.99", "10.99.9.0/24")
	for _, op := range []struct {
		name string
		fn   func(b *testing.B, i int)
	}{
		{"load", func(b *testing.B, _ int) {
			b.StopTimer()
			do(b, d.node, func() error { _, err := g.Clear(); return err })
			b.StartTimer()
			d.sync(b, g, all, false)
		}},
		{"look", func(b *testing.B, _ int) { d.sync(b, g, all, false) }},
		{"admit one", func(b *testing.B, i int) {
			one := origins(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}).String(), "10.99.9.0/24")
			do(b, d.node, func() error { return g.Admit(rules(), one) })
		}},
		{"dismiss one", func(b *testing.B, _ int) {
			b.StopTimer()
			do(b, d.node, func() error { return g.Admit(rules(), one) })
			b.StartTimer()
			d.sync(b, g, all, false)
		}},
	} {
		b.Run(op.name, func(b *testing.B) {
			d.sync(b, g, all, false)
			for i := 0; b.Loop(); i++ {
				op.fn(b, i)
			}
		})
	}
}
