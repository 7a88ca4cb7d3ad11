// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A history is a cluster and its store as they really are, beside what one node
// is told. Live nodes publish again, sooner or later, what the store has lost.
type history struct {
	*rand.Rand
	own    Lease
	live   map[string]Lease // the peers' current leases, by node
	store  []Lease
	backup []Lease // an older store
	heard  map[Lease]bool
	missed bool // our own lease was published again, unheard
	news   int  // makes each value another one
	now    time.Time
}

// TestBeliefInRandomHistories: whatever the store loses, no live peer's current
// lease is ever missing in what is believed once it was told, and in the end the
// store is believed.
func TestBeliefInRandomHistories(t *testing.T) {
	t.Parallel()
	doubts := 0
	for seed := range uint64(400) {
		h := &history{Rand: rand.New(rand.NewPCG(seed, 1)), own: at("me", 1, ""), live: map[string]Lease{}, heard: map[Lease]bool{}, now: noon}
		h.put(h.own)
		belief := new(Belief)
		var said Snapshot
		hear := func(rewound bool) {
			said = Snapshot{Leases: slices.Clone(h.store), Rewound: rewound, OwnLost: h.missed}
			h.missed = false
			h.check(t, seed, belief, said, &doubts)
		}
		for range 60 {
			// What changed unheard cannot be told from what is old.
			if n := h.IntN(20); n < 2 {
				hear(false)
				h.backup = slices.Clone(h.store)
			} else if n == 2 && h.backup != nil {
				hear(false)
				h.store = slices.Clone(h.backup)
				hear(true)
			} else if h.step(); h.IntN(3) > 0 { // else it comes together with the next
				hear(false)
			}
			h.now = h.now.Add(time.Duration(h.IntN(int(confirm / 200))))
		}
		hear(false)
		h.now = h.now.Add(confirm)
		if got, d := belief.Learn(said, h.own, h.now); !slices.Equal(got.Leases, h.store) || d.Kept != 0 {
			t.Fatalf("seed %d: believed %v, %v in the end; want the store's %v", seed, got.Leases, d, h.store)
		}
	}
	if doubts == 0 {
		t.Error("no history had a doubt")
	}
}

func (h *history) check(t *testing.T, seed uint64, belief *Belief, said Snapshot, doubts *int) {
	t.Helper()
	got, d := belief.Learn(said, h.own, h.now)
	for _, l := range said.Leases {
		h.heard[l] = true
	}
	for _, l := range h.live {
		if h.heard[l] && !slices.Contains(got.Leases, l) {
			t.Fatalf("seed %d: %v is not believed when the store says %v: %v, %v", seed, l, said, got.Leases, d)
		}
	}
	if !slices.IsSortedFunc(got.Leases, compareLeases) {
		t.Fatalf("seed %d: %v is not in order", seed, got.Leases)
	}
	if i := slices.Index(got.Leases, h.own); i >= 0 && !slices.Contains(said.Leases, h.own) {
		t.Fatalf("seed %d: our own lease is kept", seed)
	}
	*doubts += d.Kept
}

// step lets something happen.
func (h *history) step() {
	switch n := h.IntN(20); {
	case n == 0:
		h.store = nil
	case n < 6:
		h.join()
	case n < 10:
		for _, node := range h.nodes() { // leaves, whether or not the store has it
			h.store = slices.DeleteFunc(h.store, func(m Lease) bool { return m == h.live[node] })
			delete(h.live, node)
			break
		}
	case n < 13:
		for _, node := range h.nodes() {
			l := h.live[node]
			l.V4.Data = h.value()
			h.live[node] = l
			h.publish(node)
			break
		}
	default:
		if !slices.Contains(h.store, h.own) && h.IntN(3) == 0 {
			h.put(h.own)
			h.missed = true
		}
		for _, node := range h.nodes() {
			if !slices.Contains(h.store, h.live[node]) {
				h.publish(node)
				break
			}
		}
	}
}

// nodes returns the peers in an order that depends on the seed alone.
func (h *history) nodes() []string {
	all := slices.Sorted(maps.Keys(h.live))
	h.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (h *history) value() string {
	h.news++
	return fmt.Sprint(h.news)
}

// join adds a node with a subnet that neither a node nor the store holds.
func (h *history) join() {
	for n := byte(2); n < 30; n++ {
		l := at("n"+h.value(), n, h.value())
		if h.free(l) {
			h.live[l.Node] = l
			h.publish(l.Node)
			return
		}
	}
}

func (h *history) free(l Lease) bool {
	taken := func(m Lease) bool { return m.Node != l.Node && sameSubnets(m, l) }
	for _, m := range h.live {
		if taken(m) {
			return false
		}
	}
	return !slices.ContainsFunc(h.store, taken)
}

// publish makes the store hold the node's lease. Where an older holder is back
// in the store, the node moves.
func (h *history) publish(node string) {
	l := h.live[node]
	for n := byte(2); !h.free(l); n++ {
		l = at(node, n, h.value())
	}
	h.live[node] = l
	h.store = slices.DeleteFunc(h.store, func(m Lease) bool { return m.Node == node })
	h.put(l)
}

func (h *history) put(l Lease) {
	h.store = slices.DeleteFunc(h.store, func(m Lease) bool { return sameSubnets(m, l) })
	h.store = append(h.store, l)
	Sort(h.store)
}
