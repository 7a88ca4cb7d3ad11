// SPDX-License-Identifier: Apache-2.0

package status

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/network"
)

func TestRepairsAddUp(t *testing.T) {
	routes := network.UndoneCount{Kind: network.RouteEntry, Cause: network.Missing, Count: 2}
	var r Repairs
	r.Add([]network.UndoneCount{routes})
	before := r
	r.Add([]network.UndoneCount{routes, {Kind: network.RouteEntry, Cause: network.Changed, Count: 1}})
	want := []RepairCount{{network.RouteEntry, network.Missing, 4}, {network.RouteEntry, network.Changed, 1}}
	if r.Repaired != 2 || !slices.Equal(r.Entries, want) {
		t.Errorf("repairs = %+v; want %v in 2 rounds", r, want)
	}
	if before.Repaired != 1 || before.Entries[0].Count != 2 {
		t.Errorf("an older report says %+v now; want what it said", before)
	}
	b, err := json.Marshal(Status{Kernel: Rounds{Repairs: r}})
	if want := `"repairRounds":2,"repairs":[{"kind":"route","cause":"missing","count":4},`; err != nil || !strings.Contains(string(b), want) {
		t.Errorf("as JSON: %s, %v; want %s in it", b, err, want)
	}
}
