// SPDX-License-Identifier: Apache-2.0

// Package storetest has what tests of stores and of their users need: a Store
// in memory, whose failures a test commands, and the suite that every Store
// must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/percale-net/percale/subnet"
)

var _ subnet.Store = (*Memory)(nil)

// TTL is how long a lease in a Memory lasts, as Publish tells it. Nothing there
// ends by itself.
const TTL = 24 * time.Hour

// A Memory is a Store that lives in this process. All its methods may be called
// concurrently. To Publish, all its users are one process: only what Put makes
// of a lease can be ErrNameClash.
type Memory struct {
	mu       sync.Mutex
	leases   []subnet.Lease // in order; replaced, never changed in place
	reserved []subnet.Lease // subnets of entries that never end
	said     []subnet.Lease // published, whatever became of it
	refused  []subnet.Refusal
	fault    error
	writes   int
	losses   int           // how often Publish missed what was published
	rewinds  int           // how often Restore was called
	changed  chan struct{} // closed at the next change
}

// New returns an empty store.
func New() *Memory { return &Memory{changed: make(chan struct{})} }

// Put makes the store hold l, whoever held its subnets, as an operator or
// another node would.
func (m *Memory) Put(l subnet.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putLocked(l)
}

// Reserve puts a lease that never ends.
func (m *Memory) Reserve(l subnet.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putLocked(l)
	m.reserved = append(m.reserved, l)
}

// Delete deletes the entry for the subnets of l, whoever holds it.
func (m *Memory) Delete(l subnet.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deleteLocked(l)
}

// Refuse makes snapshots tell of entries that could not be read.
func (m *Memory) Refuse(refused ...subnet.Refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = refused
	m.wakeLocked()
}

// Fail makes every call fail with err, and a Watch tell of it, until Fail(nil).
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
	m.wakeLocked()
}

// Leases returns what the store holds, in order.
func (m *Memory) Leases() []subnet.Lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.leases)
}

// Writes returns how often an entry was changed, so that a test can tell that
// none was.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Watch implements subnet.Store.
func (m *Memory) Watch(ctx context.Context, fn func(subnet.Snapshot), fail func(error)) error {
	var last *subnet.Snapshot
	var losses, rewinds int
	var told error
	for ctx.Err() == nil {
		now, counts, changed, fault := m.look()
		if fmt.Sprint(fault) != fmt.Sprint(told) {
			told = fault
			fail(fault)
		}
		if fault == nil && (last == nil || !slices.Equal(last.Leases, now.Leases) || !slices.Equal(last.Refused, now.Refused)) {
			now.OwnLost = last != nil && counts[0] != losses
			now.Rewound = last != nil && counts[1] != rewinds
			last, losses, rewinds = &now, counts[0], counts[1]
			fn(now)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// look returns what there is now, the counts of losses and rewinds, and what is
// closed at the next change.
func (m *Memory) look() (s subnet.Snapshot, counts [2]int, changed <-chan struct{}, fault error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return subnet.Snapshot{Leases: m.leases, Refused: m.refused}, [2]int{m.losses, m.rewinds}, m.changed, m.fault
}

// Publish implements subnet.Store.
func (m *Memory) Publish(ctx context.Context, own subnet.Lease) (time.Time, error) {
	if own.Node == "" {
		return time.Time{}, errors.New("publish lease: it has no node name")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.fault); err != nil {
		return time.Time{}, err
	}
	i := m.findLocked(own)
	if i < 0 || !mine(own, m.leases[i]) {
		for _, l := range m.leases {
			if !mine(own, l) && overlap(own, l) {
				return time.Time{}, fmt.Errorf("publish lease: %w: held by %s", subnet.ErrTaken, l.Name())
			}
		}
	}
	if i >= 0 && m.clashLocked(own, m.leases[i]) {
		return time.Time{}, fmt.Errorf("publish lease: %w: %v", subnet.ErrNameClash, m.leases[i])
	}
	if i < 0 && slices.ContainsFunc(m.said, func(l subnet.Lease) bool { return samePlace(l, own) && l.Node == own.Node }) {
		m.losses++
	}
	if i < 0 || m.leases[i] != own {
		m.putLocked(own)
	}
	if !slices.Contains(m.said, own) {
		m.said = append(m.said, own)
	}
	if slices.ContainsFunc(m.reserved, func(l subnet.Lease) bool { return samePlace(l, own) }) {
		return time.Time{}, nil
	}
	return time.Now().Add(TTL), nil
}

// Release implements subnet.Store.
func (m *Memory) Release(ctx context.Context, own subnet.Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.fault); err != nil {
		return err
	}
	if i := m.findLocked(own); i >= 0 && mine(own, m.leases[i]) {
		m.deleteLocked(own)
	}
	m.said = slices.DeleteFunc(m.said, func(l subnet.Lease) bool { return samePlace(l, own) && l.Node == own.Node })
	return nil
}

// clashLocked reports whether have, in the place of own, was put there by
// another node of own's name after own's node had published.
func (m *Memory) clashLocked(own, have subnet.Lease) bool {
	before, same := false, sameUplinks(own, have)
	for _, l := range m.said {
		if samePlace(l, own) && l.Node == own.Node {
			before, same = true, same || sameUplinks(l, have)
		}
	}
	return before && !same && have.Node == own.Node
}

func (m *Memory) findLocked(l subnet.Lease) int {
	return slices.IndexFunc(m.leases, func(have subnet.Lease) bool { return samePlace(have, l) })
}

func (m *Memory) putLocked(l subnet.Lease) {
	rest := slices.DeleteFunc(slices.Clone(m.leases), func(have subnet.Lease) bool { return samePlace(have, l) })
	m.leases = append(rest, l)
	subnet.Sort(m.leases)
	m.writes++
	m.wakeLocked()
}

func (m *Memory) deleteLocked(l subnet.Lease) {
	m.leases = slices.DeleteFunc(slices.Clone(m.leases), func(have subnet.Lease) bool { return samePlace(have, l) })
	m.reserved = slices.DeleteFunc(m.reserved, func(have subnet.Lease) bool { return samePlace(have, l) })
	m.writes++
	m.wakeLocked()
}

func (m *Memory) wakeLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func mine(own, l subnet.Lease) bool { return subnet.Mine(subnet.ClaimOf(own), l) }

func samePlace(a, b subnet.Lease) bool {
	return a.V4.Subnet == b.V4.Subnet && a.V6.Subnet == b.V6.Subnet
}

func sameUplinks(a, b subnet.Lease) bool {
	return a.V4.Uplink == b.V4.Uplink && a.V6.Uplink == b.V6.Uplink
}

func overlap(a, b subnet.Lease) bool {
	hit := func(p, q netip.Prefix) bool { return p.IsValid() && q.IsValid() && p.Overlaps(q) }
	return hit(a.V4.Subnet, b.V4.Subnet) || hit(a.V6.Subnet, b.V6.Subnet)
}
