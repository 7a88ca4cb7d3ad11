// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"slices"

	"github.com/percale-net/percale/subnet"
)

// Empty deletes all entries, as an operator's mistake would.
func (m *Memory) Empty() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.emptyLocked()
	m.wakeLocked()
}

// Restore makes the store hold these leases alone, as from a backup.
func (m *Memory) Restore(leases ...subnet.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.emptyLocked()
	m.leases = slices.Clone(leases)
	subnet.Sort(m.leases)
	m.said = nil // what was said since says nothing of who wrote this
	m.rewinds++
	m.wakeLocked()
}

func (m *Memory) emptyLocked() {
	m.leases, m.reserved = nil, nil
	m.writes++
}
