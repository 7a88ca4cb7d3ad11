// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// Confirm is how long the store must stand by a loss that looks like a
	// mistake, until it is believed. Agents publish again within seconds once the
	// store answers; a cluster of many nodes is given minutes.
	confirm = 10 * time.Minute

	// maxKept bounds the leases that are kept against the store's word. Only who
	// floods the store while our own lease is missing there gets that far.
	maxKept = 100_000
)

// A Belief is which leases of others to work by when the store's word may be
// wrong: it was emptied by mistake, restored from a backup, or replaced. The
// zero Belief knows nothing. It is for one goroutine.
type Belief struct {
	heard    bool    // a snapshot has come
	told     []Lease // what the store said last; shared with the snapshot
	believed []Lease // what Learn returned last, in order
	kept     []keep  // of believed, in order: what the store has lost
	outdated []Lease // of told, in order: what is not believed, in favour of kept
	lost     bool    // the doubt began with the loss of our own lease
	rewound  bool    // it began with another history
}

// A keep is a lease that the store has lost, and when.
type keep struct {
	lease Lease
	since time.Time
}

// NewBelief returns a Belief that begins with the leases of an earlier run. The
// first snapshot is believed where it differs from them, except for the loss of
// our own lease and others at once.
func NewBelief(leases []Lease) *Belief {
	known := slices.Clone(leases)
	Sort(known)
	return &Belief{believed: slices.Compact(known)}
}

// Learn takes what the store says, and returns what to work by. Normally that
// is s itself. A doubt begins when the store has lost the lease that this node
// has published together with one of another node that was believed, or when
// its history is another one. Then what it lost is kept, until
//   - its owner publishes again, there or elsewhere,
//   - somebody else takes its subnet, or
//   - the store has stood by it for ten minutes of the clock that now is of.
//
// Where the history is another one, this holds also for a lease that the store
// has with another value, which is an older one. Our own lease is never kept:
// whoever renews it must see that it is missing.
//
// Own is the lease that this node has published, the zero Lease if none; one
// without a node name was not. To end a doubt by time, call Learn with the last
// snapshot again at Doubt.Until. The clock should be monotonic, and stand still
// while the store is away: then it stands by nothing. Nothing that s holds is
// changed.
func (b *Belief) Learn(s Snapshot, own Lease, now time.Time) (Snapshot, Doubt) {
	lost := own.Node != "" && !own.empty() && (s.OwnLost || !holds(s.Leases, own))
	if !lost && !s.Rewound && len(b.kept) == 0 {
		b.believe(s.Leases)
		return s, Doubt{}
	}
	// The same once more, as after a while without news, is neither a new loss
	// nor a confirmation of an old one.
	again := b.heard && same(s.Leases, b.told)
	d := doubting{claim: ClaimOf(own), now: now, lost: lost && !again, rewound: s.Rewound && !again}
	kept, outdated := d.weigh(b, s.Leases)
	if len(kept) == 0 {
		b.believe(s.Leases)
		return s, Doubt{}
	}
	fresh := len(b.kept) == 0
	b.lost = d.lost || b.lost && !fresh
	b.rewound = d.rewound || b.rewound && !fresh
	b.heard, b.told, b.kept, b.outdated = true, s.Leases, kept, outdated
	if next := combine(s.Leases, kept, outdated); !slices.Equal(next, b.believed) {
		b.believed = next // else the same slice, so that callers see at once that nothing changed
	}
	s.Leases = b.believed
	return s, b.doubt()
}

// believe takes the store's word.
func (b *Belief) believe(leases []Lease) {
	*b = Belief{heard: true, told: leases, believed: leases}
}

// A doubting is one look at a snapshot that may be wrong.
type doubting struct {
	claim         Claim
	now           time.Time
	lost, rewound bool // a doubt begins or is renewed, and why
}

// weigh returns which leases that told lacks are kept, and which of told are
// outdated in their favour.
func (d doubting) weigh(b *Belief, told []Lease) (kept []keep, outdated []Lease) {
	var given []Lease // up by time
	for _, k := range b.kept {
		if d.now.Sub(k.since) >= confirm {
			given = append(given, k.lease)
		}
	}
	gone, added := differ(without(b.believed, given), told)
	kept = d.candidates(b, gone)
	if d.rewound {
		outdated = added // all of it is from an earlier time, as far as we know
	} else {
		_, news := differ(b.outdated, added)
		outdated = without(added, news)
		if len(kept) > 0 {
			// Not of the news alone: who moves publishes elsewhere first.
			rival := rivalsOf(without(told, outdated))
			kept = slices.DeleteFunc(kept, func(k keep) bool { return rival.of(k.lease) })
		}
	}
	if len(kept) == 0 || len(outdated) == 0 {
		return kept, nil
	}
	rival := rivalsOf(leasesOf(kept))
	return kept, slices.DeleteFunc(slices.Clone(outdated), func(l Lease) bool { return !rival.of(l) })
}

// candidates returns what may be kept of the leases that are gone: those that
// were kept so far, and all if a doubt begins.
func (d doubting) candidates(b *Belief, gone []Lease) []keep {
	old, kept := b.kept, make([]keep, 0, min(len(gone), maxKept))
	for _, l := range gone {
		for len(old) > 0 && compareLeases(old[0].lease, l) < 0 {
			old = old[1:]
		}
		switch {
		case Mine(d.claim, l) || d.contests(l) || len(kept) == maxKept:
		case len(old) > 0 && old[0].lease == l:
			kept = append(kept, old[0])
		case d.lost || d.rewound:
			kept = append(kept, keep{l, d.now})
		}
	}
	return kept
}

// contests reports whether l is of a part of our own subnets. No packet goes to
// such a peer, and to keep it would keep us from taking the subnet back.
func (d doubting) contests(l Lease) bool {
	return l.V4.Subnet.Overlaps(d.claim.V4.Subnet) || l.V6.Subnet.Overlaps(d.claim.V6.Subnet)
}

// rivals are leases to find those in that cannot stand beside another one.
type rivals struct {
	v4, v6  taken
	nodes   map[string]bool
	uplinks map[netip.Addr]bool
}

func rivalsOf(leases []Lease) rivals {
	r := rivals{nodes: make(map[string]bool), uplinks: make(map[netip.Addr]bool)}
	var v4, v6 []netip.Prefix
	for _, l := range leases {
		v4, v6 = append(v4, l.V4.Subnet), append(v6, l.V6.Subnet)
		if l.Node != "" {
			r.nodes[l.Node] = true
		} else if a := l.ownerUplink(); published(a) {
			r.uplinks[a] = true
		}
	}
	r.v4, r.v6 = takenOf(v4), takenOf(v6)
	return r
}

// of reports whether one of the rivals has the owner of l, or part of its
// subnets. A node has one lease at a time.
func (r rivals) of(l Lease) bool {
	return l.Node != "" && r.nodes[l.Node] || l.Node == "" && r.uplinks[l.ownerUplink()] ||
		l.V4.Subnet.IsValid() && r.v4.find(l.V4.Subnet) >= 0 ||
		l.V6.Subnet.IsValid() && r.v6.find(l.V6.Subnet) >= 0
}

// ownerUplink returns what tells the owner of a lease without a node name; see
// Mine.
func (l Lease) ownerUplink() netip.Addr {
	if published(l.V4.Uplink) {
		return l.V4.Uplink
	}
	return l.V6.Uplink
}
