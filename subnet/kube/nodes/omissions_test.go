// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"fmt"
	"testing"
)

// TestOmitted: what is no Node counts once, however often it changes, until it is
// gone or becomes one; and nobody makes an agent remember any number of names.
func TestOmitted(t *testing.T) {
	t.Parallel()
	f := feed{table: table{records: make(map[string]record)}}
	version := uint64(1)
	happen := func(kind, name string, ok bool) event {
		version++
		e := event{kind: kind, ok: ok}
		e.Name, e.version = name, version
		return e
	}
	for i, step := range []struct {
		event   event
		changed bool
		want    int
	}{
		{happen("ADDED", "a", false), true, 1},
		{happen("MODIFIED", "a", false), false, 1},
		{happen("ADDED", "b", false), true, 2},
		{happen("DELETED", "b", false), true, 1},
		{happen("DELETED", "b", false), false, 1},
		{happen("DELETED", "c", false), false, 1},
		{happen("MODIFIED", "a", true), true, 0},
		{happen("MODIFIED", "a", true), false, 0},
	} {
		changed, err := f.apply(step.event)
		if got := f.table.snapshot(false).Omitted; changed != step.changed || got != step.want || err != nil {
			t.Errorf("step %d: changed %t, %d omitted, %v; want %t, %d", i, changed, got, err, step.changed, step.want)
		}
	}
	for i := range 2 * maxOmitted {
		f.table.omitted.add(fmt.Sprint(i))
	}
	if got := len(f.table.omitted); got != maxOmitted {
		t.Errorf("%d names are kept; want %d at most", got, maxOmitted)
	}
}
