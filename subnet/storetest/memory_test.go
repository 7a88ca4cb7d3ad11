// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/percale-net/percale/subnet"
)

func TestMemory(t *testing.T) {
	var mu sync.Mutex
	stores := map[*testing.T]*Memory{}
	Run(t, func(t *testing.T) subnet.Store {
		mu.Lock()
		defer mu.Unlock()
		if stores[t] == nil {
			stores[t] = New()
		}
		return stores[t]
	})
}

func TestMemoryFails(t *testing.T) {
	m, broken := New(), errors.New("broken")
	m.Put(Lease("n1", 1))
	m.Fail(broken)
	w := StartWatch(t, m)
	if err := w.AwaitFault(t, false); !errors.Is(err, broken) || len(w.Snapshots()) != 0 {
		t.Errorf("fault = %v with %d snapshots; want %v and none", err, len(w.Snapshots()), broken)
	}
	m.Put(Lease("n3", 3)) // wakes the watch, which has nothing new to tell
	if _, err := m.Publish(t.Context(), Lease("n2", 2)); !errors.Is(err, broken) {
		t.Errorf("Publish = %v; want %v", err, broken)
	}
	if err := m.Release(t.Context(), Lease("n1", 1)); !errors.Is(err, broken) {
		t.Errorf("Release = %v; want %v", err, broken)
	}
	m.Fail(nil)
	w.AwaitFault(t, true)
	w.AwaitLeases(t, Lease("n1", 1), Lease("n3", 3))
	if got := len(w.Faults()); got != 2 {
		t.Errorf("fail was told %v; want %v and nil", w.Faults(), broken)
	}
}

func TestMemoryNameClash(t *testing.T) {
	m, own := New(), Lease("n1", 1)
	before := own
	before.V4.Uplink = Lease("", 8).V4.Uplink
	m.Put(before) // by the process before this one: no clash
	moved := own
	moved.V4.Uplink = Lease("", 9).V4.Uplink
	for _, l := range []subnet.Lease{own, moved, own, moved} {
		if _, err := m.Publish(t.Context(), l); err != nil {
			t.Fatalf("Publish(%v): %v", l, err)
		}
	}
	m.Put(own) // what we said once
	if _, err := m.Publish(t.Context(), moved); err != nil {
		t.Errorf("Publish over what this process has said = %v; want no clash", err)
	}
	m.Put(before)
	for range 2 {
		if _, err := m.Publish(t.Context(), moved); !errors.Is(err, subnet.ErrNameClash) {
			t.Errorf("Publish = %v; want ErrNameClash", err)
		}
	}
	m.Delete(before)
	if _, err := m.Publish(t.Context(), moved); err != nil {
		t.Errorf("Publish after the other is gone: %v", err)
	}
}

func TestMemoryReserves(t *testing.T) {
	m, own := New(), Lease("n1", 1)
	reservation := subnet.Lease{V4: subnet.Endpoint{Subnet: own.V4.Subnet, Uplink: own.V4.Uplink}}
	m.Reserve(reservation)
	if _, err := m.Publish(t.Context(), Lease("n2", 1)); err != nil { // Lease gives n2 the same uplink
		t.Fatal(err)
	}
	m.Delete(own)
	m.Reserve(reservation)
	for range 2 {
		if expires, err := m.Publish(t.Context(), own); err != nil || !expires.IsZero() {
			t.Errorf("Publish on our reservation = %v, %v; want the zero time", expires, err)
		}
	}
	other := Lease("n2", 2)
	other.V4.Subnet = own.V4.Subnet
	if _, err := m.Publish(t.Context(), other); !errors.Is(err, subnet.ErrTaken) {
		t.Errorf("Publish on another's reservation = %v; want ErrTaken", err)
	}
}

func TestMemoryWrites(t *testing.T) {
	m, l := New(), Lease("n1", 1)
	for range 3 {
		if _, err := m.Publish(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.Writes(); got != 1 {
		t.Errorf("%d writes; want 1", got)
	}
	m.Refuse(subnet.Refusal{Lease: "x", Reason: "bad"})
	w := StartWatch(t, m)
	w.Await(t, "the refusal", func(s subnet.Snapshot) bool { return len(s.Refused) == 1 })
}

// TestMemoryLoses: what Publish missed and what was restored is told, once.
func TestMemoryLoses(t *testing.T) {
	m, own := New(), Lease("n1", 1)
	publish := func(l subnet.Lease) {
		t.Helper()
		if _, err := m.Publish(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	publish(own)
	w := StartWatch(t, m)
	w.AwaitLeases(t, own)
	m.Empty()
	w.AwaitLeases(t)
	publish(own)
	w.Await(t, "our lease again", func(s subnet.Snapshot) bool { return s.OwnLost && len(s.Leases) == 1 })
	older := own
	older.V4.Uplink = Lease("", 9).V4.Uplink
	m.Restore(Lease("n2", 2), older)
	w.Await(t, "the backup", func(s subnet.Snapshot) bool { return s.Rewound && !s.OwnLost && len(s.Leases) == 2 })
	publish(own) // not a clash with ourselves of then
	got := w.Await(t, "our lease", func(s subnet.Snapshot) bool { return len(s.Leases) == 2 && s.Leases[0] == own })
	if got.Rewound || got.OwnLost {
		t.Errorf("told %+v; want each told once", got)
	}
}
