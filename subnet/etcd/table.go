// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"maps"
	"slices"
	"strings"

	"github.com/percale-net/percale/subnet"
)

// A table is what we know of the keys below <prefix>/subnets/. It is pure.
type table struct {
	leases  []subnet.Lease            // in order; never changed in place, since snapshots share it
	refused map[string]subnet.Refusal // by key
}

// An entry is one key as it was read, or its deletion.
type entry struct {
	key string // below <prefix>/subnets/
	val []byte // nil: deleted
}

// with returns the table after the entries, of which a later one overrides an
// earlier one, and whether it differs from t.
func (t table) with(entries []entry) (next table, changed bool) {
	leases := make(map[place]*subnet.Lease, len(entries)) // nil: gone
	refused := maps.Clone(t.refused)
	if refused == nil {
		refused = make(map[string]subnet.Refusal)
	}
	for _, e := range entries {
		delete(refused, e.key)
		at, l, err := e.decode()
		if err != nil && e.val != nil {
			refused[e.key] = subnet.Refusal{Lease: bounded(e.key), Reason: bounded(err.Error())}
		}
		if at != (place{}) {
			leases[at] = l
		}
	}
	maps.DeleteFunc(leases, func(at place, l *subnet.Lease) bool {
		i, found := t.find(at)
		return found && l != nil && *l == t.leases[i] || !found && l == nil
	})
	if len(leases) == 0 && maps.Equal(refused, t.refused) {
		return t, false
	}
	return table{t.merge(leases), refused}, true
}

// decode returns where e belongs, the zero place if nowhere, and its lease, nil
// if it has none.
func (e entry) decode() (place, *subnet.Lease, error) {
	at, err := parseKey(e.key)
	if err != nil || e.val == nil {
		return at, nil, err
	}
	l, err := decodeValue(at, e.val)
	if err != nil {
		// The key still keeps others from the subnet, whoever's it is.
		l = subnet.Lease{V4: subnet.Endpoint{Subnet: at.v4}, V6: subnet.Endpoint{Subnet: at.v6}}
	}
	return at, &l, err
}

// merge returns the leases with the changes, in order, as a new slice.
func (t table) merge(changed map[place]*subnet.Lease) []subnet.Lease {
	out := make([]subnet.Lease, 0, len(t.leases)+len(changed))
	for _, at := range slices.SortedFunc(maps.Keys(changed), place.compare) {
		i, found := t.find(at)
		out = append(out, t.leases[:i]...)
		if found {
			i++
		}
		t.leases = t.leases[i:]
		if l := changed[at]; l != nil {
			out = append(out, *l)
		}
	}
	return append(out, t.leases...)
}

// find returns where the lease of a place is, or where it would be.
func (t table) find(at place) (int, bool) {
	return slices.BinarySearchFunc(t.leases, at, func(l subnet.Lease, at place) int { return placeOf(l).compare(at) })
}

func (t table) equal(u table) bool {
	return slices.Equal(t.leases, u.leases) && maps.Equal(t.refused, u.refused)
}

// snapshot returns the table for others to read.
func (t table) snapshot() subnet.Snapshot {
	refused := slices.SortedFunc(maps.Values(t.refused), func(a, b subnet.Refusal) int { return strings.Compare(a.Lease, b.Lease) })
	return subnet.Snapshot{Leases: t.leases, Refused: refused}
}

// bounded shortens a text that others chose.
func bounded(text string) string {
	const limit = 200
	text = strings.ToValidUTF8(text, "?")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}
