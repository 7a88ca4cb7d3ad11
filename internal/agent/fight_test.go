// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
)

var night = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// undoneRoute is a repair of one route.
func undoneRoute(name, found string) repair {
	u := network.Undone{Kind: network.RouteEntry, Cause: network.Changed, Name: name, Found: found}
	return repair{what: "set 1 route", undone: []network.Undone{u}, counts: []network.UndoneCount{{Kind: u.Kind, Cause: u.Cause, Count: 1}}}
}

// repairs settles so many rounds, each a while after the one before, and returns
// the last one's tally and time.
func repairs(f *fight, n int, from time.Time, gap time.Duration, what func(i int) repair) (t tally) {
	for i := range n {
		t = f.settle(partFight, mend{at: from.Add(time.Duration(i) * gap)}, what(i))
	}
	return t
}

func TestFightIsManyRepairsInAShortTime(t *testing.T) {
	same := func(int) repair { return undoneRoute("10.42.2.0/24", "") }
	other := func(i int) repair { return undoneRoute(string(rune('a'+i)), "") }
	none := func(int) repair { return repair{} }
	for _, tt := range []struct {
		name string
		n    int
		gap  time.Duration
		what func(int) repair
		want bool
	}{
		{"nothing undone", 1000, time.Millisecond, none, false},
		{"the same now and then", 100, fightWindow / (fightSame - 2), same, false},
		{"the same, nearly often enough", fightSame - 1, time.Millisecond, same, false},
		{"the same often", fightSame, time.Millisecond, same, true},
		{"the same all the time", 200, time.Second / 2, same, true},
		{"always another, nearly often enough", fightRepairs - 1, time.Millisecond, other, false},
		{"always another", fightRepairs, time.Millisecond, other, true},
	} {
		var f fight
		got := repairs(&f, tt.n, night, tt.gap, tt.what)
		if (got.fight != nil) != tt.want || (f.told != nil) != tt.want {
			t.Errorf("%s: fight = %+v, the loop is told %v; want one: %t", tt.name, got.fight, f.told, tt.want)
		}
		later := f.settle(partFight, mend{at: got.at.Add(2 * fightWindow)}, repair{})
		if later.fight != nil || f.told != nil || len(f.mends) > 0 {
			t.Errorf("%s: the fight goes on although nothing was repaired for long", tt.name)
		}
	}
}

// The loop logs each error that is new to it, so what it is told stays as it
// was; the status has the newest.
func TestFightIsToldToTheLoopOnce(t *testing.T) {
	var f fight
	began := 0
	var first, last string
	for i := range 50 {
		got := f.settle(partFight, mend{at: night.Add(time.Duration(i) * time.Second / 10)}, undoneRoute("10.42.2.0/24", "via 192.0.2.7"))
		if got.began {
			began++
			first = f.told.Error()
		}
		if got.fight != nil {
			last = fightError(*got.fight).Error()
		}
	}
	if began != 1 || f.told.Error() != first || last == first || !strings.Contains(last, "undone 50 times in 10s") {
		t.Errorf("%d fights began; the loop is told %v, the status %q; want one, as it began, and the newest", began, f.told, last)
	}
}

func TestFightNamesWhatIsUndoneMostOften(t *testing.T) {
	var f fight
	var got tally
	for i := range fightSame {
		r := undoneRoute("10.42.3.0/24", "")
		m := mend{at: night}
		switch {
		case i == 0:
			m.who = meddler{"early", 7}
		case i == fightSame-1:
			m.who = meddler{"", 900} // gone
		case i == fightSame-2:
			m.who = meddler{"bird", 812}
		}
		if i > 0 {
			r.undone = append(undoneRoute("10.42.2.0/24", "via 192.0.2.7").undone, r.undone...)
		}
		r.undone = append(r.undone, network.Undone{Kind: network.RouteEntry, Cause: network.Foreign, Name: "10.42.3.0/24", Found: "dev eth0"})
		got = f.settle(partFight, m, r)
	}
	want := &status.Fight{Since: night, Who: "process 812 (bird)", Entries: []status.Contested{
		{Kind: network.RouteEntry, Name: "10.42.3.0/24", Cause: network.Foreign, Times: fightSame, Found: "dev eth0"},
		{Kind: network.RouteEntry, Name: "10.42.2.0/24", Cause: network.Changed, Times: fightSame - 1, Found: "via 192.0.2.7"},
	}}
	if !reflect.DeepEqual(got.fight, want) {
		t.Errorf("fight = %+v; want %+v", got.fight, want)
	}
}

func TestFightError(t *testing.T) {
	entry := func(kind network.EntryKind, name, found string) status.Contested {
		return status.Contested{Kind: kind, Name: name, Found: found, Cause: network.Missing, Times: 23}
	}
	for _, tt := range []struct {
		fight status.Fight
		want  []string
	}{
		{status.Fight{Entries: []status.Contested{
			entry(network.RouteEntry, "10.42.2.0/24", "via 192.0.2.7 dev eth0 proto bird (12)"), entry(network.LinkEntry, "flannel.1", ""),
		}, Who: "process 812 (bird)"}, []string{
			"route 10.42.2.0/24 was undone 23 times in 10s, and 1 or more other entries, last found: via 192.0.2.7 dev eth0 proto bird (12); ",
			"last changed by process 812 (bird). ", "Packets are lost", "its own VNI and network", `"ip monitor route"`}},
		{status.Fight{Entries: []status.Contested{entry(network.AddressEntry, "10.42.1.0/32 dev flannel.1", "")}},
			[]string{"address 10.42.1.0/32 dev flannel.1 was undone 23 times in 10s, last found: missing. ", `"ip monitor address"`}},
		{status.Fight{Entries: []status.Contested{entry(network.LinkEntry, "flannel.1", "")}}, []string{`"ip monitor link"`}},
		{status.Fight{Entries: []status.Contested{entry(network.NeighborEntry, "x", "")}}, []string{`"ip monitor neigh"`}},
		{status.Fight{Entries: []status.Contested{entry(network.ForwardEntry, "x", "")}}, []string{"FDB entry x", `"bridge monitor fdb"`}},
		{status.Fight{Entries: []status.Contested{entry(network.SysctlEntry, "net/ipv4/ip_forward", "0")}},
			[]string{"last found: 0", "grep -rs ip_forward /etc/sysctl.conf"}},
		{status.Fight{Entries: []status.Contested{entry(network.RulesEntry, "chain forward", "")}}, []string{"firewall chain forward was", "nft monitor"}},
		{status.Fight{}, []string{"another program"}},
	} {
		got := fightError(tt.fight).Error()
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("fightError(%+v) = %q; want %q in it", tt.fight, got, want)
			}
		}
		if tt.fight.Who == "" && strings.Contains(got, "changed by") {
			t.Errorf("fightError(%+v) = %q; nobody knows who", tt.fight, got)
		}
	}
}
