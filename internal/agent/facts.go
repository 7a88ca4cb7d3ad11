// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"reflect"
	"sync"
	"time"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// Facts are what the loops tell each other: always the newest, always whole.
type facts struct {
	mu  sync.Mutex // guards all following fields
	now view
}

// A view is the facts at one moment. What it points to is not changed.
type view struct {
	snapshot subnet.Snapshot
	synced   bool // snapshot is what the store says, as far as we believe it
	cached   bool // snapshot is what the last run knew; if neither, it means nothing
	uplink   network.Uplink
	lease    subnet.Lease // ours
	held     bool         // lease stands in the store, as far as we know
	renewAt  time.Time    // zero: never
	previous subnet.Lease // what we had before this start; a preference

	awaySince time.Time     // since when the store is away; zero: it is there
	awayTotal time.Duration // how long it was away before that, altogether

	wish int // counts the changes of all that the plan depends on
}

// last returns the newest lease that is known to be ours.
func (v view) last() subnet.Lease {
	if v.held {
		return v.lease
	}
	return v.previous
}

// away returns how long the store has been away, altogether.
func (v view) away(now time.Time) time.Duration {
	if v.awaySince.IsZero() {
		return v.awayTotal
	}
	return v.awayTotal + now.Sub(v.awaySince)
}

// known reports whether the snapshot means anything.
func (v view) known() bool { return v.synced || v.cached }

// forget drops what depends on the network configuration. Our lease becomes a
// preference.
func (f *facts) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = view{
		previous: f.now.last(), awaySince: f.now.awaySince, awayTotal: f.now.awayTotal, wish: f.now.wish + 1,
	}
}

func (f *facts) view() view {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// update lets fn change the facts, and reports whether the wish is another now.
func (f *facts) update(fn func(*view)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.now
	fn(&f.now)
	if was.synced == f.now.synced && was.cached == f.now.cached && was.held == f.now.held && was.lease == f.now.lease &&
		reflect.DeepEqual(was.uplink, f.now.uplink) && sameLeases(was.snapshot, f.now.snapshot) {
		return false
	}
	f.now.wish++
	return true
}

// sameLeases compares by identity first: most updates leave the snapshot alone.
func sameLeases(a, b subnet.Snapshot) bool {
	if len(a.Leases) != len(b.Leases) || len(a.Refused) != len(b.Refused) {
		return false
	}
	if a.Own != b.Own {
		return false
	}
	if len(a.Leases) > 0 && &a.Leases[0] == &b.Leases[0] {
		return true
	}
	return reflect.DeepEqual(a, b)
}
