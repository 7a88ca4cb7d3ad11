// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"time"

	"github.com/percale-net/percale/network"
)

// Repairs counts, since the start of the agent, what a loop found undone.
type Repairs struct {
	Repaired int           `json:"repairRounds"` // rounds that repaired something
	Entries  []RepairCount `json:"repairs"`      // what they repaired
	Fights   int           `json:"fights"`       // times that somebody began to undo again and again what we write
	Fight    *Fight        `json:"fight,omitempty"`
}

// A RepairCount says how many entries of one kind were repaired for one cause.
type RepairCount struct {
	Kind  network.EntryKind `json:"kind"`
	Cause network.Cause     `json:"cause"`
	Count int               `json:"count"`
}

// String says it in words: "12 routes missing".
func (r RepairCount) String() string { return network.UndoneCount(r).String() }

// A Fight is one that goes on. It is not changed once it is reported.
type Fight struct {
	Since   time.Time   `json:"since"`
	Entries []Contested `json:"entries"`       // what is undone most often comes first; the rest may be left out
	Who     string      `json:"who,omitempty"` // who undid it last: a process; "" if that is not known
}

// A Contested is an entry that is undone again and again.
type Contested struct {
	Kind  network.EntryKind `json:"kind"`
	Name  string            `json:"name"` // "10.244.2.0/24"
	Cause network.Cause     `json:"cause"`
	Times int               `json:"times"` // lately: in the last 10 seconds
	Found string            `json:"found,omitempty"`
}

// Add counts what one round repaired. Copies of r that were handed out before
// stay as they were.
func (r *Repairs) Add(undone []network.UndoneCount) {
	r.Repaired++
	r.Entries = slices.Clone(r.Entries)
	for _, u := range undone {
		i := slices.IndexFunc(r.Entries, func(e RepairCount) bool { return e.Kind == u.Kind && e.Cause == u.Cause })
		if i < 0 {
			r.Entries = append(r.Entries, RepairCount(u))
		} else {
			r.Entries[i].Count += u.Count
		}
	}
}
