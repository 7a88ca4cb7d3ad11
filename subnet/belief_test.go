// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// at returns the lease of a node for 10.3.<n>.0/24, with a value of its own.
func at(node string, n byte, value string) Lease {
	return Lease{Node: node, Backend: "vxlan", V4: Endpoint{
		Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 3, n, 0}), 24),
		Uplink: netip.AddrFrom4([4]byte{192, 0, 2, n}), Data: value,
	}}
}

// A hearing is one call of Learn and what is to come of it.
type hearing struct {
	after   time.Duration // since noon
	says    []Lease
	rewound bool
	ownLost bool
	want    []Lease
	kept    int
	until   time.Duration // since noon, if kept > 0
}

func TestBelief(t *testing.T) {
	own := at("me", 1, "")
	a, b, c := at("a", 2, ""), at("b", 3, ""), at("c", 4, "")
	newA, bigA := at("a", 2, "new"), at("x", 2, "")
	bigA.V4.Subnet = netip.MustParsePrefix("10.3.2.0/23") // a's and b's
	ownOld, thief := at("me", 1, "old"), at("x", 1, "")
	flannel, moved := at("", 5, ""), at("", 6, "")
	moved.V4.Uplink = flannel.V4.Uplink
	all := []Lease{own, a, b, c}
	const ten = confirm
	for name, test := range map[string]struct {
		seed  []Lease
		calls []hearing
	}{
		"a peer leaves": {calls: []hearing{{says: all, want: all}, {says: []Lease{own, a}, want: []Lease{own, a}}}},
		"all peers leave while ours stands": {calls: []hearing{
			{says: all, want: all}, {says: []Lease{own}, want: []Lease{own}},
		}},
		"ours alone is lost": {calls: []hearing{
			{says: all, want: all}, {says: []Lease{a, b, c}, want: []Lease{a, b, c}}, {says: all, want: all},
		}},
		"emptied, published again one by one": {calls: []hearing{
			{says: all, want: all},
			{after: 1, want: []Lease{a, b, c}, kept: 3, until: ten + 1},
			{after: 2, says: []Lease{own}, want: all, kept: 3, until: ten + 1},
			{after: 3, says: []Lease{own, newA}, want: []Lease{own, newA, b, c}, kept: 2, until: ten + 1},
			{after: 4, says: []Lease{own, newA, b}, want: []Lease{own, newA, b, c}, kept: 1, until: ten + 1},
			{after: 5, says: []Lease{own, newA, b, c}, want: []Lease{own, newA, b, c}},
		}},
		"emptied and confirmed by time": {calls: []hearing{
			{says: all, want: all},
			{want: []Lease{a, b, c}, kept: 3, until: ten},
			{after: ten - 1, want: []Lease{a, b, c}, kept: 3, until: ten},
			{after: ten},
			{after: ten + 1},
		}},
		"part of it is lost with ours": {calls: []hearing{
			{says: all, want: all}, {says: []Lease{c}, want: []Lease{a, b, c}, kept: 2, until: ten},
		}},
		"published again, then withdrawn": {calls: []hearing{
			{says: all, want: all},
			{want: []Lease{a, b, c}, kept: 3, until: ten},
			{says: []Lease{own, a}, want: all, kept: 2, until: ten},
			{says: []Lease{own}, want: []Lease{own, b, c}, kept: 2, until: ten},
		}},
		"who took our subnet gives it back": {calls: []hearing{
			{says: all, want: all}, {says: []Lease{thief, a, b, c}, want: []Lease{thief, a, b, c}}, {says: []Lease{a, b, c}, want: []Lease{a, b, c}},
		}},
		"a doubt upon a doubt": {calls: []hearing{
			{says: all, want: all},
			{says: []Lease{b, c}, want: []Lease{a, b, c}, kept: 1, until: ten},
			{after: 5, says: []Lease{c}, want: []Lease{a, b, c}, kept: 2, until: ten},
			{after: ten, says: []Lease{c}, want: []Lease{b, c}, kept: 1, until: ten + 5},
			{after: ten + 5, says: []Lease{c}, want: []Lease{c}},
		}},
		"somebody takes the subnet": {calls: []hearing{
			{says: all, want: all},
			{want: []Lease{a, b, c}, kept: 3, until: ten},
			{says: []Lease{bigA}, want: []Lease{bigA, c}, kept: 1, until: ten},
		}},
		"taken in the same moment": {calls: []hearing{
			{says: all, want: all}, {says: []Lease{bigA}, want: []Lease{bigA, c}, kept: 1, until: ten},
		}},
		"the owner publishes elsewhere": {calls: []hearing{
			{says: []Lease{own, a, flannel}, want: []Lease{own, a, flannel}},
			{want: []Lease{a, flannel}, kept: 2, until: ten},
			{says: []Lease{moved, at("a", 9, "")}, want: []Lease{moved, at("a", 9, "")}},
		}},
		"we move, and so does a peer": {calls: []hearing{
			{says: []Lease{own, a, b}, want: []Lease{own, a, b}},
			{says: []Lease{own, a, b, at("a", 9, "")}, want: []Lease{own, a, b, at("a", 9, "")}},
			{says: []Lease{b, at("me", 8, ""), at("a", 9, "")}, want: []Lease{b, at("me", 8, ""), at("a", 9, "")}},
		}},
		"a value changes in the loss": {calls: []hearing{
			{says: all, want: all}, {says: []Lease{newA}, want: []Lease{newA, b, c}, kept: 2, until: ten},
		}},
		"rewound": {calls: []hearing{
			{says: []Lease{own, newA, b}, want: []Lease{own, newA, b}},
			{says: []Lease{ownOld, a, c}, rewound: true, want: []Lease{ownOld, newA, b, c}, kept: 2, until: ten},
			{after: 9, says: []Lease{ownOld, a, c}, rewound: true, want: []Lease{ownOld, newA, b, c}, kept: 2, until: ten},
			{says: []Lease{own, newA, c}, want: []Lease{own, newA, b, c}, kept: 1, until: ten},
			{says: []Lease{own, newA, b, c}, want: []Lease{own, newA, b, c}},
		}},
		"rewound, another value": {calls: []hearing{
			{says: []Lease{own, newA}, want: []Lease{own, newA}},
			{says: []Lease{own, a}, rewound: true, want: []Lease{own, newA}, kept: 1, until: ten},
			{says: []Lease{own, at("a", 2, "newer")}, want: []Lease{own, at("a", 2, "newer")}},
		}},
		"rewound, deleted and written as it was": {calls: []hearing{
			{says: []Lease{own, newA}, want: []Lease{own, newA}},
			{says: []Lease{own, a}, rewound: true, want: []Lease{own, newA}, kept: 1, until: ten},
			{says: []Lease{own}, want: []Lease{own, newA}, kept: 1, until: ten},
			{says: []Lease{own, a}, want: []Lease{own, a}},
		}},
		"rewound, confirmed by time": {calls: []hearing{
			{says: []Lease{own, newA, b}, want: []Lease{own, newA, b}},
			{says: []Lease{own, a}, rewound: true, want: []Lease{own, newA, b}, kept: 2, until: ten},
			{after: ten, says: []Lease{own, a}, rewound: true, want: []Lease{own, a}},
			{after: ten + 1, says: []Lease{own, a}, rewound: true, want: []Lease{own, a}},
		}},
		"rewound to a former holder of more": {calls: []hearing{
			{says: []Lease{own, a, c}, want: []Lease{own, a, c}},
			{says: []Lease{own, bigA, c}, rewound: true, want: []Lease{own, a, c}, kept: 1, until: ten},
			{after: ten, says: []Lease{own, bigA, c}, want: []Lease{own, bigA, c}},
		}},
		"rewound to a node's former subnet": {calls: []hearing{
			{says: []Lease{own, a}, want: []Lease{own, a}},
			{says: []Lease{own, at("a", 9, "")}, rewound: true, want: []Lease{own, a}, kept: 1, until: ten},
		}},
		"rewound, nothing differs": {calls: []hearing{
			{says: all, want: all}, {says: all, rewound: true, want: all},
		}},
		"emptied, then restored": {calls: []hearing{
			{says: []Lease{own, newA}, want: []Lease{own, newA}},
			{want: []Lease{newA}, kept: 1, until: ten},
			{after: 5, says: []Lease{own, a, b}, rewound: true, want: []Lease{own, newA, b}, kept: 1, until: ten},
		}},
		"ours was lost unheard, and is back": {calls: []hearing{
			{says: all, want: all},
			{says: []Lease{own, c}, ownLost: true, want: all, kept: 2, until: ten},
			{after: ten, says: []Lease{own, c}, ownLost: true, want: []Lease{own, c}},
		}},
		"the first snapshot": {calls: []hearing{{says: []Lease{a}, want: []Lease{a}}}},
		"from a cache": {seed: []Lease{c, own, newA, a}, calls: []hearing{
			{want: []Lease{a, newA, c}, kept: 3, until: ten},
		}},
		"a cache that has aged": {seed: []Lease{own, newA, b}, calls: []hearing{
			{says: []Lease{own, a}, want: []Lease{own, a}},
		}},
		"a cache, and ours is lost": {seed: []Lease{own, newA, b}, calls: []hearing{
			{says: []Lease{a}, want: []Lease{a, b}, kept: 1, until: ten},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			belief := NewBelief(test.seed)
			for i, h := range test.calls {
				s := Snapshot{Leases: h.says, Rewound: h.rewound, OwnLost: h.ownLost, Refused: []Refusal{{Lease: "x"}}}
				got, doubt := belief.Learn(s, own, noon.Add(h.after))
				if !slices.Equal(got.Leases, h.want) || !slices.Equal(got.Refused, s.Refused) {
					t.Fatalf("call %d: believed %v; want %v", i, got, h.want)
				}
				if doubt.Kept != h.kept || h.kept > 0 && !doubt.Until.Equal(noon.Add(h.until)) || (doubt.String() == "") != (h.kept == 0) {
					t.Fatalf("call %d: doubt %+v; want %d kept until noon + %v", i, doubt, h.kept, h.until)
				}
				if h.kept == 0 && doubt != (Doubt{}) {
					t.Errorf("call %d: doubt %+v; want none", i, doubt)
				}
			}
		})
	}
}

// TestBeliefOfNobody: before this node has published, nothing is doubted but
// another history.
func TestBeliefOfNobody(t *testing.T) {
	b, a := new(Belief), at("a", 2, "")
	for i, want := range [][]Lease{{a}, nil, {a}, nil, {a}} {
		own := []Lease{{}, at("", 1, "")}[i%2] // nothing, or no more than a preference
		if got, d := b.Learn(Snapshot{Leases: want}, own, noon); !slices.Equal(got.Leases, want) || d.Kept != 0 {
			t.Errorf("believed %v, %+v; want %v", got, d, want)
		}
	}
	if got, d := b.Learn(Snapshot{Rewound: true}, Lease{}, noon); !slices.Equal(got.Leases, []Lease{a}) || d.Kept != 1 {
		t.Errorf("believed %v, %+v; want the lease kept", got, d)
	}
}

// TestBeliefSharesSnapshots: what is believed is the store's slice, and what is
// kept is one slice while nothing changes.
func TestBeliefSharesSnapshots(t *testing.T) {
	own, told := at("me", 1, ""), []Lease{at("me", 1, ""), at("a", 2, "")}
	b := new(Belief)
	if got, _ := b.Learn(Snapshot{Leases: told}, own, noon); &got.Leases[0] != &told[0] {
		t.Error("an undoubted snapshot was copied")
	}
	one, _ := b.Learn(Snapshot{}, own, noon)
	two, _ := b.Learn(Snapshot{}, own, noon.Add(1))
	if &one.Leases[0] != &two.Leases[0] {
		t.Error("the same belief came in two slices")
	}
}

func TestDoubtSays(t *testing.T) {
	own := at("me", 1, "")
	told := []Lease{own, at("a", 2, "new"), at("b", 3, "")}
	for _, test := range []struct {
		s    Snapshot
		says []string
	}{
		{Snapshot{}, []string{"ours among them", "2 leases of peers", "12:10:00", "by mistake"}},
		{Snapshot{Leases: []Lease{own, at("a", 2, ""), told[2]}, Rewound: true}, []string{"restored from a backup", "1 lease of peers", "until 12:10:00"}},
		{Snapshot{Rewound: true}, []string{"our own lease is missing"}},
	} {
		b := NewBelief(nil)
		b.Learn(Snapshot{Leases: told}, own, noon)
		_, d := b.Learn(test.s, own, noon)
		for _, want := range test.says {
			if !strings.Contains(d.String(), want) {
				t.Errorf("doubt of %v says %q; want %q in it", test.s, d, want)
			}
		}
	}
}

func BenchmarkLearn(b *testing.B) {
	const n = 15_000
	told := make([]Lease, n)
	for i := range told {
		told[i] = at(fmt.Sprintf("node-%d", i), 0, `{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}`)
		told[i].V4.Subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
	}
	own, half := told[7], make([]Lease, 0, n)
	for i := range told {
		if i%2 == 0 {
			half = append(half, told[i])
		}
	}
	b.Run("believed", func(b *testing.B) {
		belief := NewBelief(told)
		for b.Loop() {
			belief.Learn(Snapshot{Leases: told}, own, noon)
		}
	})
	b.Run("doubted", func(b *testing.B) {
		for b.Loop() {
			belief := Belief{heard: true, told: told, believed: told}
			belief.Learn(Snapshot{}, own, noon)
		}
	})
	b.Run("half published again", func(b *testing.B) {
		for b.Loop() {
			belief := Belief{heard: true, told: told, believed: told}
			belief.Learn(Snapshot{}, own, noon)
			belief.Learn(Snapshot{Leases: half}, own, noon)
		}
	})
}
