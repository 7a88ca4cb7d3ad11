// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"fmt"
	"slices"
	"time"
)

// A Doubt says why leases are kept that the store has lost. The zero Doubt
// means that the store is believed.
type Doubt struct {
	Since time.Time // when the oldest of them was lost
	Until time.Time // when the first of them is given up unless news come
	Last  time.Time // when the last of them is
	Kept  int       // how many there are
	Why   string    // what was observed
}

// String says what was observed, what is done about it, and what the operator
// can do; "" if there is no doubt. Times of day are in Since's zone.
func (d Doubt) String() string {
	if d.Kept == 0 {
		return ""
	}
	leases, kept := "leases", "they are"
	if d.Kept == 1 {
		leases, kept = "lease", "it is"
	}
	return fmt.Sprintf("%s: %d %s of peers would go; %s kept until published again, or until %s if the store stays in reach. "+
		"If those nodes are really gone, nothing is to be done. If the store was emptied or restored by mistake, "+
		"keep the agents of all nodes running: each publishes its lease again by itself",
		d.Why, d.Kept, leases, kept, d.Last.Format("15:04:05"))
}

// Later returns d with its times moved, for a clock that is ahead of the one
// that Learn was told.
func (d Doubt) Later(by time.Duration) Doubt {
	if d.Kept > 0 {
		d.Since, d.Until, d.Last = d.Since.Add(by), d.Until.Add(by), d.Last.Add(by)
	}
	return d
}

// doubt tells of what b keeps.
func (b *Belief) doubt() Doubt {
	first, last := b.kept[0].since, b.kept[0].since
	for _, k := range b.kept {
		if k.since.Before(first) {
			first = k.since
		}
		if k.since.After(last) {
			last = k.since
		}
	}
	d := Doubt{Since: first, Until: first.Add(confirm), Last: last.Add(confirm), Kept: len(b.kept)}
	switch {
	case b.rewound && b.lost:
		d.Why = "the store was emptied, replaced or restored from an old backup: it tells an older history, and our own lease is missing in it"
	case b.rewound:
		d.Why = "the store was restored from a backup or replaced: it tells an older history than before"
	default:
		d.Why = "the store has lost many leases at once, ours among them"
	}
	return d
}

// holds reports whether leases, in order, hold own's lease, whatever it says
// of the node besides its subnets.
func holds(leases []Lease, own Lease) bool {
	i, _ := slices.BinarySearchFunc(leases, own, comparePlaces)
	for ; i < len(leases) && sameSubnets(leases[i], own); i++ {
		if Mine(ClaimOf(own), leases[i]) {
			return true
		}
	}
	return false
}

// same reports whether a and b hold the same leases; where they are one slice,
// without a look at them.
func same(a, b []Lease) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// differ returns what only a and only b hold; both are in order, and so are
// the results, which may share a or b.
func differ(a, b []Lease) (onlyA, onlyB []Lease) {
	for len(a) > 0 && len(b) > 0 {
		switch n := compareLeases(a[0], b[0]); {
		case n < 0:
			onlyA, a = append(onlyA, a[0]), a[1:]
		case n > 0:
			onlyB, b = append(onlyB, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return joined(onlyA, a), joined(onlyB, b)
}

// joined returns a and b without a copy where it can.
func joined(a, b []Lease) []Lease {
	if len(a) == 0 {
		return b
	}
	return append(a, b...)
}

// without returns the leases that are not in minus; both are in order.
func without(leases, minus []Lease) []Lease {
	if len(minus) == 0 {
		return leases
	}
	rest, _ := differ(leases, minus)
	return rest
}

// combine returns what to believe, in order.
func combine(told []Lease, kept []keep, outdated []Lease) []Lease {
	told = without(told, outdated)
	out := make([]Lease, 0, len(told)+len(kept))
	for _, k := range kept {
		i, _ := slices.BinarySearchFunc(told, k.lease, compareLeases)
		out = append(out, told[:i]...)
		out, told = append(out, k.lease), told[i:]
	}
	return append(out, told...)
}

func leasesOf(kept []keep) []Lease {
	out := make([]Lease, len(kept))
	for i, k := range kept {
		out[i] = k.lease
	}
	return out
}
