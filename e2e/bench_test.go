// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
)

const overlay = "flannel.1"

// BenchmarkStart measures the time from the exec of percaled, on a node that
// has nothing yet, until the kernel holds every peer known to etcd. Beside it
// stands the floor: the same entries given to the kernel by a program that
// knows them already and does nothing else.
func BenchmarkStart(b *testing.B) {
	table := "\n  peers   exec to kernel   kernel floor   ratio       CPU       RSS\n"
	for _, leases := range []int{1000, 5000, 10000} {
		b.Run(fmt.Sprintf("leases=%d", leases), func(b *testing.B) {
			l := up(b, lab.Spec{Nodes: 1, NoWait: true, Conf: conf(`{"Network":"10.0.0.0/8"}`)})
			putLeases(b, l, leases)
			var total, floor, cpu time.Duration
			var rss int64
			for b.Loop() {
				r := startOnce(b, l.Node(1), leases)
				total, floor, cpu, rss = total+r.total, floor+r.floor, cpu+r.cpu, max(rss, r.rss)
			}
			n := float64(b.N)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / n }
			b.ReportMetric(0, "ns/op") // the rest of the loop is preparation
			b.ReportMetric(ms(total), "ms/start")
			b.ReportMetric(ms(floor), "ms/floor")
			b.ReportMetric(float64(total)/float64(floor), "start/floor")
			b.ReportMetric(ms(cpu), "cpu-ms/start")
			b.ReportMetric(float64(rss)/1e6, "MB-rss")
			table += fmt.Sprintf("%7d %13.0f ms %11.0f ms %7.1f %6.0f ms %6.1f MB\n", leases, ms(total), ms(floor),
				float64(total)/float64(floor), ms(cpu), float64(rss)/1e6)
		})
	}
	fmt.Println(table) // a benchmark that only has others in it logs nothing
}

// putLeases writes the leases of that many peers into etcd, many at a time.
func putLeases(b *testing.B, l *lab.Lab, n int) {
	b.Helper()
	client, err := l.Etcd()
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var ops []clientv3.Op
	for i := range n {
		k := i + 2000 // past what the agent itself would take first
		key := fmt.Sprintf("%s/subnets/10.%d.%d.0-24", l.Spec().EtcdPrefix(0), k>>8, k&255)
		mac := network.MAC{0x26, 0x1b, 0, 0, byte(i >> 8), byte(i)}
		ops = append(ops, clientv3.OpPut(key, foreign(fmt.Sprintf("172.16.%d.%d", i>>8, i&255), mac.String())))
	}
	for part := range slices.Chunk(ops, 100) {
		if _, err := client.Txn(b.Context()).Then(part...).Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

type result struct {
	total, floor, cpu time.Duration
	rss               int64 // bytes
}

// startOnce starts the agent on a node that has nothing of it, and waits for
// the kernel to hold every peer.
func startOnce(b *testing.B, n *lab.Node, leases int) result {
	b.Helper()
	a := n.Agent(0)
	forget(b, n)
	conn, err := kernel.Open(n.NS().Path())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	cmd := exec.Command(a.Args()[0], a.Args()[1:]...)
	began := time.Now()
	if err := n.NS().Start(cmd); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill() // unless it has ended
	waitProgrammed(b, a, leases)
	r := result{total: time.Since(began)}
	have := holds(b, conn, leases)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	r.rss = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
	r.floor = floor(b, have)
	return r
}

// forget brings a node back to before the first start of its agent.
func forget(b *testing.B, n *lab.Node) {
	b.Helper()
	if err := n.Agent(0).Kill(b.Context()); err != nil {
		b.Fatal(err)
	}
	n.NS().Output("ip", "link", "delete", overlay) // may be absent
	if err := os.RemoveAll(n.Agent(0).Dir()); err != nil {
		b.Fatal(err)
	}
}

// waitProgrammed asks the agent, seldom enough not to slow it, until it says
// that every peer is in the kernel.
func waitProgrammed(b *testing.B, a *lab.Agent, leases int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := a.Status(ctx)
		if err == nil && s.Ready && s.Peers.Programmed == leases {
			return
		}
		select {
		case <-ctx.Done():
			b.Fatalf("peers programmed: %d of %d, waiting for %q, %v", s.Peers.Programmed, leases, s.Waiting, err)
		case <-tick.C:
		}
	}
}

// holds returns what the kernel holds, which must be an entry of each kind for
// each lease.
func holds(b *testing.B, conn *kernel.Conn, leases int) network.State {
	b.Helper()
	have, err := conn.Read(b.Context(), kernel.Scope{Devices: []string{overlay}})
	if err != nil {
		b.Fatal(err)
	}
	maps.DeleteFunc(have.Routes, func(_ network.RouteKey, r network.Route) bool { return r.Protocol != network.Protocol })
	if len(have.Routes) != leases || len(have.Neighbors) != leases || len(have.Forwards) != leases {
		b.Fatalf("kernel holds %d routes, %d neighbors, %d FDB entries; want %d of each",
			len(have.Routes), len(have.Neighbors), len(have.Forwards), leases)
	}
	return have
}

// floor returns how long the kernel takes for the entries alone, in a namespace
// that has the device.
func floor(b *testing.B, have network.State) time.Duration {
	b.Helper()
	ns := netns.Temp(b)
	conn, err := kernel.Open(ns.Path())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	dev := have.Links[overlay]
	dev.VXLAN.Local, dev.VXLAN.Underlay = netip.Addr{}, ""
	err = conn.Apply(b.Context(), network.Changes{SetLinks: []network.Link{dev}})
	if err != nil {
		b.Fatal(err)
	}
	changes := network.Compare(network.NewState(), network.State{
		Routes: have.Routes, Neighbors: have.Neighbors, Forwards: have.Forwards,
	})
	began := time.Now()
	if err := conn.Apply(b.Context(), changes); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
