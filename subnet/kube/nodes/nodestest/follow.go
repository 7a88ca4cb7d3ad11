// SPDX-License-Identifier: Apache-2.0

// Package nodestest has what tests of package nodes share, and those that need a
// real API server. They stand apart, so that the fuzz tests there do not compile
// all of Kubernetes' client.
package nodestest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. No test passes or fails by how long one takes.
const patience = time.Minute

// A Follower records what one watch tells, of Snapshots or of Owns.
type Follower[T any] struct {
	mu      sync.Mutex
	all     []T
	faults  []error
	changed chan struct{}
}

// Follow watches until the test ends, and then checks that fail was told each
// thing once.
func Follow[T any](t *testing.T, run func(context.Context, func(T), func(error)) error) *Follower[T] {
	t.Helper()
	f := &Follower[T]{changed: make(chan struct{})}
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

func (f *Follower[T]) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// Await waits until the newest value fits, and returns it.
func (f *Follower[T]) Await(t *testing.T, what string, fits func(T) bool) T {
	t.Helper()
	f.until(t, what, func() bool { return len(f.all) > 0 && fits(f.all[len(f.all)-1]) })
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[len(f.all)-1]
}

// AwaitFault waits for the newest fault; nil: that all is well again.
func (f *Follower[T]) AwaitFault(t *testing.T, what string, fits func(error) bool) {
	t.Helper()
	f.until(t, what, func() bool { return len(f.faults) > 0 && fits(f.faults[len(f.faults)-1]) })
}

func (f *Follower[T]) until(t *testing.T, what string, true func() bool) {
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

// Told returns all that was told.
func (f *Follower[T]) Told() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]T(nil), f.all...)
}

// Well is no fault.
func Well(err error) bool { return err == nil }

// Ill is any fault.
func Ill(err error) bool { return err != nil }
