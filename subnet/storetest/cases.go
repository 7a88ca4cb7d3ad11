// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/percale-net/percale/subnet"
)

func testRaceForOne(t *testing.T, s *suite) {
	const nodes = 7
	leases := make([]subnet.Lease, nodes)
	for i := range leases {
		leases[i] = Lease(fmt.Sprintf("n%d", i), 7)
		leases[i].V4.Uplink = netip.AddrFrom4([4]byte{192, 168, 1, byte(i)})
	}
	errs := s.together(t, leases)
	var won []subnet.Lease
	for i, err := range errs {
		if err == nil {
			won = append(won, leases[i])
		} else if !errors.Is(err, subnet.ErrTaken) {
			t.Errorf("Publish(%v): %v; want ErrTaken", leases[i], err)
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d nodes won %v; want 1", len(won), won)
	}
	w := StartWatch(t, s)
	w.AwaitLeases(t, won[0])
}

// testRaceForAll lets nodes that know nothing of each other choose among too
// few subnets, again and again, as agents do. Each subnet gets one node.
func testRaceForAll(t *testing.T, s *suite) {
	const nodes, subnets = 7, 5
	pool := subnet.Pool{Network: netip.MustParsePrefix("10.3.0.0/16"), Len: 24,
		Min: netip.MustParseAddr("10.3.1.0"), Max: netip.MustParseAddr("10.3.5.0")}
	w := StartWatch(t, s)
	results := make([]error, nodes)
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() { results[i] = s.join(t, w, i, pool) })
	}
	wg.Wait()
	var lost int
	for i, err := range results {
		if errors.Is(err, subnet.ErrNoFreeSubnet) {
			lost++
		} else if err != nil {
			t.Errorf("node %d: %v; want a subnet or ErrNoFreeSubnet", i, err)
		}
	}
	got := w.Await(t, "all subnets to be taken", func(s subnet.Snapshot) bool { return len(s.Leases) >= subnets })
	if len(got.Leases) != subnets || lost != nodes-subnets {
		t.Errorf("%d leases and %d nodes without; want %d and %d", len(got.Leases), lost, subnets, nodes-subnets)
	}
}

// join does what an agent does to get a subnet.
func (s *suite) join(t *testing.T, w *Watcher, i int, pool subnet.Pool) error {
	claim := subnet.ClaimOf(Lease(fmt.Sprintf("n%d", i), byte(100+i)))
	claim.V4.Subnet, claim.Pools.V4 = netip.Prefix{}, pool
	for {
		known := w.Await(t, "the first snapshot", func(subnet.Snapshot) bool { return true })
		own, _, err := subnet.Choose(claim, known.Leases, func(int) int { return 0 })
		if err != nil {
			return err
		}
		if _, err = s.Publish(t.Context(), own); !errors.Is(err, subnet.ErrTaken) {
			return err
		}
		w.Await(t, "the lease in the way", func(now subnet.Snapshot) bool {
			return slices.ContainsFunc(now.Leases, func(l subnet.Lease) bool { return l.V4.Subnet == own.V4.Subnet })
		})
	}
}

// together publishes all leases at once.
func (s *suite) together(t *testing.T, leases []subnet.Lease) []error {
	errs := make([]error, len(leases))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, l := range leases {
		wg.Go(func() {
			<-start
			_, errs[i] = s.Publish(t.Context(), l)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func testRelease(t *testing.T, s *suite) {
	mine, other := Dual("n1", 1), Lease("n2", 2)
	s.publish(t, mine)
	s.publish(t, other)
	w := StartWatch(t, s)
	foreign := other
	foreign.Node = "n1"
	for _, l := range []subnet.Lease{mine, mine, Lease("n1", 9), foreign} { // ours, gone, absent, another's
		if err := s.Release(t.Context(), l); err != nil {
			t.Errorf("Release(%v) = %v; want success", l, err)
		}
	}
	w.AwaitLeases(t, other)
	s.publish(t, Dual("n3", 1)) // the subnet is free for others
	w.AwaitLeases(t, other, Dual("n3", 1))
}

func testDeleteAndAgain(t *testing.T, s *suite) {
	l := Lease("n1", 1)
	s.publish(t, l)
	w := StartWatch(t, s)
	w.AwaitLeases(t, l)
	if err := s.open(t).Release(t.Context(), l); err != nil { // somebody deletes it
		t.Fatal(err)
	}
	w.AwaitLeases(t)
	s.publish(t, l)
	w.AwaitLeases(t, l)
}

// testEmptied: a store without leases says so, and each node's next Publish
// brings its own back, with another value if it has one by then.
func testEmptied(t *testing.T, s *suite) {
	own, peer := Dual("n1", 1), Lease("n2", 2)
	s.publish(t, own)
	s.publish(t, peer)
	w := StartWatch(t, s)
	w.AwaitLeases(t, own, peer)
	other := s.open(t)
	for _, l := range []subnet.Lease{own, peer} {
		if err := other.Release(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	w.AwaitLeases(t)
	own.V4.Uplink = netip.MustParseAddr("192.168.0.99")
	s.publish(t, own)
	s.publish(t, peer)
	w.AwaitLeases(t, own, peer)
	for _, got := range w.Snapshots() {
		if got.Rewound {
			t.Errorf("told %+v as rewound; want it only of another history", got)
		}
	}
}

func testOrder(t *testing.T, s *suite) {
	var want []subnet.Lease
	for _, n := range []byte{200, 3, 20, 2, 100} { // as text, 100 comes before 20
		l := Lease(fmt.Sprintf("n%d", n), n)
		want = append(want, l)
		s.publish(t, l)
	}
	StartWatch(t, s).AwaitLeases(t, want...)
}

func testRestart(t *testing.T, s *suite) {
	l := Dual("n1", 1)
	s.publish(t, l)
	again := &suite{Store: s.open(t), open: s.open}
	w := StartWatch(t, again)
	w.AwaitLeases(t, l)
	again.publish(t, l)
	again.refuses(t, Lease("n2", 1))
}

func testNameless(t *testing.T, s *suite) {
	if expires, err := s.Publish(t.Context(), Lease("", 1)); err == nil || errors.Is(err, subnet.ErrTaken) {
		t.Errorf("Publish without a node name = %v, %v; want an error of its own", expires, err)
	}
}
