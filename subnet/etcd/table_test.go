// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/percale-net/percale/subnet"
)

// TestTableHistories: a table that followed every change equals one made from
// the last state, however the changes were split, and tables given out before
// do not change.
func TestTableHistories(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 3))
		state := map[string][]byte{}
		var now table
		var before []table
		var copies []string
		for range 40 {
			var batch []entry
			for range r.IntN(8) {
				batch = append(batch, randomEntry(r))
			}
			for _, e := range batch {
				if state[e.key] = e.val; e.val == nil {
					delete(state, e.key)
				}
			}
			next, changed := now.with(batch)
			if changed == next.equal(now) {
				t.Fatalf("seed %d: changed = %v from %v to %v", seed, changed, now, next)
			}
			now = next
			before, copies = append(before, now), append(copies, fmt.Sprint(now.snapshot()))

			var all []entry
			for key, val := range state { // in no order
				all = append(all, entry{key, val})
			}
			whole, _ := table{}.with(all)
			if !whole.equal(now) || fmt.Sprint(whole.snapshot()) != fmt.Sprint(now.snapshot()) {
				t.Fatalf("seed %d: step by step %v\nat once %v", seed, now.snapshot(), whole.snapshot())
			}
		}
		for i, old := range before {
			if got := fmt.Sprint(old.snapshot()); got != copies[i] {
				t.Fatalf("seed %d: snapshot %d changed from %s to %s", seed, i, copies[i], got)
			}
		}
	}
}

func randomEntry(r *rand.Rand) entry {
	keys := [...]string{fmt.Sprintf("10.3.%d.0-24", r.IntN(6)), fmt.Sprintf("10.3.%d.0-24&fc00:0:0:%x::-64", r.IntN(4), 1+r.IntN(4)), fmt.Sprintf("0.0.0.0-0&fc00:0:0:%x::-64", 1+r.IntN(4)), "bad", "10.3.1.1-24"}
	vals := [...][]byte{nil, []byte(`{"PublicIP":"192.168.0.1"}`), []byte(`{"PublicIP":"192.168.0.2","Node":"n2"}`), []byte(`{`), {}}
	return entry{keys[r.IntN(len(keys))], vals[r.IntN(len(vals))]}
}

func BenchmarkTableOneChange15000(b *testing.B) {
	var all []entry
	for i := range 15000 {
		all = append(all, entry{fmt.Sprintf("10.%d.%d.0-24", i>>8, i&255), []byte(`{"PublicIP":"192.168.0.1","BackendType":"vxlan","Node":"n1"}`)})
	}
	t, _ := table{}.with(all)
	vals := [...][]byte{[]byte(`{"PublicIP":"192.168.0.2"}`), []byte(`{"PublicIP":"192.168.0.3"}`)}
	var out subnet.Snapshot
	for i := 0; b.Loop(); i++ {
		t, _ = t.with([]entry{{"10.20.30.0-24", vals[i%2]}})
		out = t.snapshot()
	}
	if len(out.Leases) != 15000 {
		b.Fatal(len(out.Leases))
	}
}
