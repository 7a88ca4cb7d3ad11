// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"reflect"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
)

// A witness knows who changed what is ours an hour after night fell.
type witness meddler

func (m witness) LastMeddler() (string, int, time.Time) { return m.name, m.pid, night.Add(time.Hour) }

func TestWho(t *testing.T) {
	for _, tt := range []struct {
		x     any
		since time.Time
		want  string
	}{
		{witness{"bird", 812}, night, "process 812 (bird)"},
		{witness{"bird", 812}, night.Add(time.Hour), ""}, // before what is repaired was written
		{witness{"", 812}, night, "process 812 (gone, or of another PID namespace)"},
		{witness{"bird", 0}, night, "bird"},
		{witness{}, night, ""},
		{"cannot tell", night, ""},
	} {
		if got := who(tt.x, tt.since).String(); got != tt.want {
			t.Errorf("who(%v, %v) = %q; want %q", tt.x, tt.since, got, tt.want)
		}
	}
}

func TestUndoneRules(t *testing.T) {
	got := undoneRules([]string{"table: missing", "chain forward: 2 of 7 rules missing", "chain evil: not wanted", "chain x: missing", "other"})
	rules := func(c network.Cause, name, found string) network.Undone {
		return network.Undone{Kind: network.RulesEntry, Cause: c, Name: name, Found: found}
	}
	want := []network.Undone{
		rules(network.Missing, "table", ""), rules(network.Changed, "chain forward", "2 of 7 rules missing"),
		rules(network.Foreign, "chain evil", ""), rules(network.Missing, "chain x", ""), rules(network.Changed, "other", ""),
	}
	counts := []network.UndoneCount{
		{Kind: network.RulesEntry, Cause: network.Missing, Count: 2}, {Kind: network.RulesEntry, Cause: network.Changed, Count: 2},
		{Kind: network.RulesEntry, Cause: network.Foreign, Count: 1},
	}
	if !reflect.DeepEqual(got.undone, want) || !reflect.DeepEqual(got.counts, counts) {
		t.Errorf("undoneRules = %+v; want %+v, %+v", got, want, counts)
	}
}

func TestTallyReport(t *testing.T) {
	var s status.Status
	var f fight
	for i := range fightSame {
		f.settle(partFight, mend{at: night}, undoneRoute("10.42.2.0/24", "")).report(&s, &s.Kernel)
		if over := i == fightSame-1; (s.Kernel.Fight != nil) != over || (len(s.Problems) == 1) != over {
			t.Fatalf("after %d repairs: %+v, problems %v", i+1, s.Kernel, s.Problems)
		}
	}
	entries := []status.RepairCount{{Kind: network.RouteEntry, Cause: network.Changed, Count: fightSame}}
	if k := s.Kernel; k.Repaired != fightSame || k.Fights != 1 || !reflect.DeepEqual(k.Entries, entries) ||
		k.LastRepair != (status.Repair{At: night, What: "set 1 route"}) {
		t.Errorf("during the fight: %+v; want %d repairs in %v, and one fight", k, fightSame, entries)
	}
	end := night.Add(2 * fightWindow)
	f.settle(partFight, mend{at: end}, repair{}).report(&s, &s.Kernel)
	if k := s.Kernel; k.Fight != nil || len(s.Problems) != 0 || k.Fights != 1 || k.Repaired != fightSame || k.LastRepair.At != night {
		t.Errorf("after the fight: %+v, problems %v; want the counts alone", k, s.Problems)
	}
}
