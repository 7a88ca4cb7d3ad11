// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/percale-net/percale/subnet"
)

// Lease returns a sound lease of a node: number, from 1 to 255, tells its
// subnet 10.3.<number>.0/24 and its uplink 192.168.0.<number>.
func Lease(node string, number byte) subnet.Lease {
	return subnet.Lease{Node: node, Backend: "vxlan", V4: subnet.Endpoint{
		Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 3, number, 0}), 24),
		Uplink: netip.AddrFrom4([4]byte{192, 168, 0, number}),
		Data:   fmt.Sprintf(`{"VNI":1,"VtepMAC":"02:00:00:00:00:%02x"}`, number),
	}}
}

// Dual returns Lease with an IPv6 half: fc00:0:0:<number>::/64.
func Dual(node string, number byte) subnet.Lease {
	l := Lease(node, number)
	l.V6 = subnet.Endpoint{
		Subnet: netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfc, 7: number}), 64),
		Uplink: netip.AddrFrom16([16]byte{0: 0xfd, 15: number}),
		Data:   l.V4.Data,
	}
	return l
}

// V6 returns the IPv6 half of Dual.
func V6(node string, number byte) subnet.Lease {
	l := Dual(node, number)
	l.V4 = subnet.Endpoint{}
	return l
}

// Run tests a Store. open returns a store for the test that it is given: each
// test begins with an empty one, and calls with the same test reach the same
// leases.
func Run(t *testing.T, open func(t *testing.T) subnet.Store) {
	for name, test := range map[string]func(*testing.T, *suite){
		"empty":            testEmpty,
		"publish":          testPublish,
		"publish silently": testPublishSilently,
		"change":           testChange,
		"taken":            testTaken,
		"overlap":          testOverlap,
		"stack changes":    testStackChanges,
		"race for one":     testRaceForOne,
		"race for all":     testRaceForAll,
		"release":          testRelease,
		"delete and again": testDeleteAndAgain,
		"emptied":          testEmptied,
		"order":            testOrder,
		"restart":          testRestart,
		"nameless":         testNameless,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &suite{Store: open(t), open: open})
		})
	}
}

type suite struct {
	subnet.Store
	open func(t *testing.T) subnet.Store
}

func (s *suite) publish(t *testing.T, l subnet.Lease) time.Time {
	t.Helper()
	expires, err := s.Publish(t.Context(), l)
	if err != nil {
		t.Fatalf("Publish(%v): %v", l, err)
	}
	return expires
}

// refuses checks that l cannot be published since another node is in the way.
func (s *suite) refuses(t *testing.T, l subnet.Lease) {
	t.Helper()
	if expires, err := s.Publish(t.Context(), l); !errors.Is(err, subnet.ErrTaken) {
		t.Errorf("Publish(%v) = %v, %v; want ErrTaken", l, expires, err)
	}
}

func testEmpty(t *testing.T, s *suite) {
	w := StartWatch(t, s)
	w.AwaitLeases(t)
	if got := w.Snapshots()[0]; len(got.Refused) != 0 {
		t.Errorf("first snapshot = %+v; want an empty one", got)
	}
}

func testPublish(t *testing.T, s *suite) {
	w := StartWatch(t, s)
	want := []subnet.Lease{Lease("n1", 1), Dual("n2", 2), V6("n3", 3)}
	for _, l := range want {
		before := time.Now()
		if expires := s.publish(t, l); !expires.IsZero() && !expires.After(before) {
			t.Errorf("Publish(%v) expires at %v; want after %v, or never", l, expires, before)
		}
	}
	w.AwaitLeases(t, want...)
}

func testPublishSilently(t *testing.T, s *suite) {
	l := Dual("n1", 1)
	s.publish(t, l)
	w := StartWatch(t, s)
	w.AwaitLeases(t, l)
	for range 3 {
		s.publish(t, l)
	}
	s.publish(t, Lease("n2", 2)) // what came before it would have been told before it
	w.AwaitLeases(t, l, Lease("n2", 2))
	if got := w.Snapshots(); len(got) != 2 {
		t.Errorf("%d snapshots; want 2: Publish of what is published is not seen", len(got))
	}
}

func testChange(t *testing.T, s *suite) {
	l := Dual("n1", 1)
	s.publish(t, l)
	w := StartWatch(t, s)
	w.AwaitLeases(t, l)
	l.V4.Uplink, l.V6.Data, l.Backend = netip.MustParseAddr("192.168.0.99"), `{"VNI":2}`, "other"
	s.publish(t, l)
	w.AwaitLeases(t, l)
}

func testTaken(t *testing.T, s *suite) {
	held := Dual("n1", 1)
	s.publish(t, held)
	rival := held
	rival.Node = "n2" // with our uplinks: a clone
	s.refuses(t, rival)
	s.refuses(t, Lease("n2", 1))
	w := StartWatch(t, s)
	w.AwaitLeases(t, held)
}

func testOverlap(t *testing.T, s *suite) {
	one, two := Dual("n1", 1), Lease("n2", 2)
	s.publish(t, one)
	s.publish(t, two)
	longer, shorter := Lease("n3", 1), Lease("n3", 2)
	longer.V4.Subnet = netip.MustParsePrefix("10.3.1.128/25")
	shorter.V4.Subnet = netip.MustParsePrefix("10.3.2.0/23")
	half := Dual("n3", 3)
	half.V6.Subnet = one.V6.Subnet
	for _, l := range []subnet.Lease{longer, shorter, half, V6("n3", 1)} {
		s.refuses(t, l)
	}
	w := StartWatch(t, s)
	w.AwaitLeases(t, one, two)
}

// testStackChanges: a node's own subnets are not in its way.
func testStackChanges(t *testing.T, s *suite) {
	for _, step := range [...][2]subnet.Lease{
		{Lease("n1", 1), Dual("n1", 1)},
		{Dual("n1", 1), V6("n1", 1)},
		{V6("n1", 1), Dual("n1", 1)},
		{Dual("n1", 1), Lease("n1", 1)},
	} {
		s.publish(t, step[0])
		s.publish(t, step[1])
		if err := s.Release(t.Context(), step[0]); err != nil {
			t.Fatal(err)
		}
		w := StartWatch(t, s)
		w.AwaitLeases(t, step[1])
	}
}
