// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/storetest"
)

// twins returns two nodes of one name and one subnet.
func twins() (one, two subnet.Lease) {
	one, two = storetest.Dual("n2", 3), storetest.Dual("n2", 3)
	two.V4.Uplink = storetest.Lease("", 9).V4.Uplink
	return one, two
}

// testNameClash: the one that was there first sees the other one and yields.
func testNameClash(t *testing.T, b bench) {
	one, two := twins()
	first, second := b.open(t), b.open(t)
	publish(t, first, one)
	publish(t, second, two) // as after a restart with another address
	w := storetest.StartWatch(t, second)
	w.AwaitLeases(t, two)
	for range 3 {
		_, err := first.Publish(t.Context(), one)
		if !errors.Is(err, subnet.ErrNameClash) || !strings.HasSuffix(err.Error(), ": lease 10.3.3.0/24 says that n2 is at 192.168.0.9") {
			t.Errorf("Publish of the first = %v; want ErrNameClash with what was seen", err)
		}
		publish(t, second, two)
	}
	publish(t, second, storetest.Lease("n9", 9)) // all that came before it is told before it
	w.AwaitLeases(t, two, storetest.Lease("n9", 9))
	if n := len(w.Snapshots()); n != 2 {
		t.Errorf("%d snapshots; want 2: nothing changes to and fro", n)
	}
	publish(t, b.open(t), one) // the first one restarts
	if _, err := second.Publish(t.Context(), two); !errors.Is(err, subnet.ErrNameClash) {
		t.Errorf("Publish of the second = %v; want ErrNameClash", err)
	}
	if err := second.Release(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	publish(t, second, two) // given up and taken anew: no clash with ourselves
}

func testNameClashAtOnce(t *testing.T, b bench) {
	one, two := twins()
	stores, leases := [2]*Store{b.open(t), b.open(t)}, [2]subnet.Lease{one, two}
	var last [2]error
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			for range 10 {
				if _, last[i] = s.Publish(t.Context(), leases[i]); last[i] != nil && !errors.Is(last[i], subnet.ErrNameClash) {
					t.Error(last[i])
				}
			}
		})
	}
	wg.Wait()
	for i, s := range stores {
		_, last[i] = s.Publish(t.Context(), leases[i])
	}
	if clash := errors.Join(last[:]...); (last[0] == nil) == (last[1] == nil) || !errors.Is(clash, subnet.ErrNameClash) {
		t.Errorf("Publish of the two = %v; want one that publishes and one ErrNameClash", last)
	}
}

// testNoNameClash: what looks like another node is ourselves.
func testNoNameClash(t *testing.T, b bench) {
	one, two := twins()
	s := b.open(t)
	for _, l := range []subnet.Lease{one, two, one, two} { // our address changes
		publish(t, s, l)
	}
	key := "subnets/" + placeOf(one).key()
	put := func(l subnet.Lease) {
		t.Helper()
		_, val, err := encode(l)
		if err != nil {
			t.Fatal(err)
		}
		id := b.grant(t, time.Hour)
		b.put(t, key, string(val), clientv3.WithLease(id))
	}
	put(one) // a write of ours whose answer was lost
	publish(t, s, two)
	cleared := two
	cleared.V4.Uplink, cleared.V6.Uplink = subnet.Lease{}.V4.Uplink, subnet.Lease{}.V6.Uplink
	put(cleared)
	publish(t, s, two)

	// A restored backup: what was there before this process, at a revision of then.
	old := one
	old.V4.Uplink = storetest.Lease("", 77).V4.Uplink
	put(old)
	s.hold(prefixOf(t)+"/"+key, 1<<40)
	publish(t, s, two)
	w := storetest.StartWatch(t, s)
	w.Await(t, "our lease", func(s subnet.Snapshot) bool { return slices.Contains(s.Leases, two) })
}
