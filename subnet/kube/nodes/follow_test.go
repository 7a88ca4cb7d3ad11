// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// patience bounds every wait. No test passes or fails by how long one takes.
const patience = time.Minute

// A follower records what one watch tells, of Snapshots or of Owns.
type follower[T any] struct {
	mu      sync.Mutex
	all     []T
	faults  []error
	changed chan struct{}
}

// follow watches until the test ends, and then checks that fail was told each
// thing once.
func follow[T any](t *testing.T, run func(context.Context, func(T), func(error)) error) *follower[T] {
	t.Helper()
	f := &follower[T]{changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, func(v T) { f.note(func() { f.all = append(f.all, v) }) },
			func(err error) { f.note(func() { f.faults = append(f.faults, err) }) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch returned %v; want the error of its context", err)
		}
		before := error(nil)
		for i, err := range f.faults {
			if fmt.Sprint(err) == fmt.Sprint(before) {
				t.Errorf("call %d of fail tells %v, as the one before; want each told once", i+1, err)
			}
			before = err
		}
	})
	return f
}

func (f *follower[T]) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// await waits until the newest value fits, and returns it.
func (f *follower[T]) await(t *testing.T, what string, fits func(T) bool) T {
	t.Helper()
	f.until(t, what, func() bool { return len(f.all) > 0 && fits(f.all[len(f.all)-1]) })
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[len(f.all)-1]
}

// awaitFault waits for the newest fault; nil: that all is well again.
func (f *follower[T]) awaitFault(t *testing.T, what string, fits func(error) bool) {
	t.Helper()
	f.until(t, what, func() bool { return len(f.faults) > 0 && fits(f.faults[len(f.faults)-1]) })
}

func (f *follower[T]) until(t *testing.T, what string, true func() bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		f.mu.Lock()
		ok, changed := true(), f.changed
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			f.mu.Lock()
			defer f.mu.Unlock()
			t.Fatalf("no %s within %v; told %d times, faults %v", what, patience, len(f.all), f.faults)
		}
	}
}

// told returns all that was told.
func (f *follower[T]) told() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]T(nil), f.all...)
}

// followNodes watches the Nodes that cfg leads to; change adjusts the watcher.
func followNodes(t *testing.T, cfg *rest.Config, need func(Node) bool, change func(*Watcher)) *follower[Snapshot] {
	t.Helper()
	w, err := New(Config{Client: cfg, Wanted: wanted, NeedWhole: need})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(w)
	}
	return follow(t, w.Run)
}

// subnetsOf returns what a snapshot says under the annotation of the tests.
func subnetsOf(s Snapshot, name string) string {
	return s.Nodes[name].Annotations["percale.io/subnets"]
}

func well(err error) bool { return err == nil }
func ill(err error) bool  { return err != nil }
