// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/percale-net/percale/subnet"
)

// patience bounds every wait. No test passes or fails by how long one takes.
const patience = 30 * time.Second

// A Watcher records what one Watch tells. Its methods may be called
// concurrently.
type Watcher struct {
	mu      sync.Mutex
	all     []subnet.Snapshot
	faults  []error // in order; nil: well again
	changed chan struct{}
}

// StartWatch watches store until the test ends, and then checks that fail was
// told each thing once: no text twice in a row, no nil but after an error.
func StartWatch(t *testing.T, store subnet.Store) *Watcher {
	t.Helper()
	w := &Watcher{changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Watch(ctx, w.snapshot, w.fault) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v; want the error of its context", err)
		}
		before := error(nil)
		for i, err := range w.Faults() {
			if fmt.Sprint(err) == fmt.Sprint(before) {
				t.Errorf("call %d of fail tells %v, as the one before; want each told once", i+1, err)
			}
			before = err
		}
	})
	return w
}

func (w *Watcher) snapshot(s subnet.Snapshot) {
	w.note(func() { w.all = append(w.all, s) })
}

func (w *Watcher) fault(err error) {
	w.note(func() { w.faults = append(w.faults, err) })
}

func (w *Watcher) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Snapshots returns all that were passed so far.
func (w *Watcher) Snapshots() []subnet.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// Faults returns all that fail was told so far.
func (w *Watcher) Faults() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.faults)
}

// Await waits until the last snapshot satisfies ok, and returns it.
func (w *Watcher) Await(t *testing.T, what string, ok func(subnet.Snapshot) bool) subnet.Snapshot {
	t.Helper()
	return awaitLast(t, w, what, w.Snapshots, ok)
}

// AwaitLeases waits until the last snapshot holds exactly want.
func (w *Watcher) AwaitLeases(t *testing.T, want ...subnet.Lease) {
	t.Helper()
	subnet.Sort(want)
	got := w.Await(t, "the leases wanted", func(s subnet.Snapshot) bool { return slices.Equal(s.Leases, want) })
	if !slices.IsSortedFunc(got.Leases, func(a, b subnet.Lease) int {
		if c := a.V4.Subnet.Compare(b.V4.Subnet); c != 0 {
			return c
		}
		return a.V6.Subnet.Compare(b.V6.Subnet)
	}) {
		t.Errorf("leases %v are not in order of subnet", got.Leases)
	}
}

// AwaitFault waits until fail was last told an error, and returns it; with
// well, until it was last told nil.
func (w *Watcher) AwaitFault(t *testing.T, well bool) error {
	t.Helper()
	return awaitLast(t, w, "another fault state", w.Faults, func(err error) bool { return (err == nil) == well })
}

func awaitLast[T any](t *testing.T, w *Watcher, what string, seen func() []T, ok func(T) bool) T {
	t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		all := seen()
		if n := len(all); n > 0 && ok(all[n-1]) {
			return all[n-1]
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waiting for %s: after %v the store has told only %+v, faults %v", what, patience, all, w.Faults())
		}
	}
}
