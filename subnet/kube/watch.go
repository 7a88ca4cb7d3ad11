// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// Watch implements subnet.Store: what all Nodes publish, and what the cluster
// says of ours. While our node looks for a subnet, it also reads the Lease
// objects, so that what others hold but do not publish yet is not chosen.
func (s *Store) Watch(ctx context.Context, fn func(subnet.Snapshot), fail func(error)) error {
	cfg := nodes.Config{
		Client: s.config, Wanted: s.keys.lease, NeedWhole: s.needWhole, Expect: s.cfg.Expect, Log: s.log,
		Records: &nodes.Records{Namespace: s.cfg.Namespace, Label: labelRecord, Every: s.cfg.Look},
	}
	ours := cfg
	ours.Wanted = s.keys.wanted
	w := &watch{store: s, fn: fn, fail: fail}
	peers, err := nodes.New(cfg)
	for err != nil { // such as a certificate file that is not there yet
		w.tellFault(s.explain("watch Nodes", err))
		if err := w.wait(ctx, retry); err != nil {
			return err
		}
		peers, err = nodes.New(cfg)
	}
	w.suspect = peers.Suspect
	s.markStale()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return peers.Run(ctx, w.hearPeers, w.hearPeersFault) })
	group.Go(func() error { return nodes.WatchOwn(ctx, ours, s.cfg.Node, w.hearOwn, w.hearOwnFault) })
	group.Go(func() error { return w.run(ctx) })
	return group.Wait()
}

// needWhole spares our own Node, which is watched whole.
func (s *Store) needWhole(n nodes.Node) bool { return n.Name != s.cfg.Node && s.keys.needWhole(n) }

// A watch is one call of Watch. Three goroutines hear, one tells.
type watch struct {
	store *Store
	fn    func(subnet.Snapshot)
	fail  func(error)

	// suspect is nodes.Watcher.Suspect.
	suspect func(names []string)

	mu    sync.Mutex
	heard heard // needs mu

	// Of the goroutine that tells.
	read        // from heard.peers
	claims      []claim
	claimsAt    time.Time // when they were read; zero: they are of no use
	claimsFault error
	denial      nodes.Denial // of reading them
	without     time.Time    // since when our Node is seen without pod CIDRs; zero: it has some
	assigned    bool         // our Node had pod CIDRs since we know it
	witnesses
	attestAt time.Time // when our Lease objects are looked at next; zero: there are none
	told     *subnet.Snapshot
	losses   int    // of the store, when fn was called
	fault    string // nodes.Gist of what fail was told last; "": nothing, or nil
}

// A heard is what was heard last.
type heard struct {
	peers      *nodes.Snapshot // nil: nothing
	own        *nodes.Own      // nil: nothing
	rewound    bool            // since the last snapshot was told
	peersFault error
	ownFault   error
}

// A read is what was read of all Nodes but ours.
type read struct {
	from    *nodes.Snapshot
	leases  []subnet.Lease
	refused []subnet.Refusal
	custom  custom
	clashes []string // Nodes that only their records stand for; see clashes
}

func (w *watch) hear(note func(*heard)) {
	w.mu.Lock()
	note(&w.heard)
	w.mu.Unlock()
	w.store.kick()
}

func (w *watch) hearPeers(s nodes.Snapshot) {
	w.hear(func(h *heard) { h.peers, h.rewound = &s, h.rewound || s.Rewound })
}

func (w *watch) hearOwn(o nodes.Own) {
	if w.store.cfg.Own != nil {
		w.store.cfg.Own(o)
	}
	w.hear(func(h *heard) { h.own = &o })
}

func (w *watch) hearPeersFault(err error) { w.hear(func(h *heard) { h.peersFault = err }) }
func (w *watch) hearOwnFault(err error)   { w.hear(func(h *heard) { h.ownFault = err }) }

// run tells what was heard until ctx ends.
func (w *watch) run(ctx context.Context) error {
	for {
		again := w.round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.wait(ctx, again); err != nil {
			return err
		}
	}
}

// wait blocks until something was heard, or for d unless it is 0.
func (w *watch) wait(ctx context.Context, d time.Duration) error {
	var due <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.store.wake:
	case <-due:
	}
	return nil
}

// round tells the newest news, and returns when to look again; 0: when something
// is heard.
func (w *watch) round(ctx context.Context) time.Duration {
	w.mu.Lock()
	h := w.heard
	w.mu.Unlock()
	var again time.Duration
	if h.peers != nil && h.own != nil {
		if w.from != h.peers {
			w.read = w.store.read(h.peers, w.bare)
			w.suspect(w.clashes)
		}
		again = w.look(ctx, h)
	}
	w.tellFault(errors.Join(h.peersFault, h.ownFault, w.witnesses.fault, w.claimsFault))
	return again
}

// look makes a snapshot and tells it, unless it is the one before.
func (w *watch) look(ctx context.Context, h heard) time.Duration {
	s := subnet.Snapshot{Leases: slices.Clone(w.leases), Refused: slices.Clone(w.refused)}
	var again time.Duration
	s.Own.Assigned, again = w.assign(ctx, h)
	pending := s.Own.Assigned.Pending != ""
	w.store.setPending(pending)
	own, amiss, refused := w.store.keys.decodeOwn(h.own.Node, pending)
	s.Own.Amiss = amiss || own != (subnet.Lease{}) && w.store.keys.unrecorded(*h.own, h.peers.Records)
	lost, due := w.attest(ctx, *h.own, own)
	s.Own.Amiss = s.Own.Amiss || lost
	s.Refused = append(s.Refused, refused...)
	s.Own.V4, s.Own.V6, refused = w.store.keys.publicity(h.own.Node)
	s.Refused = append(s.Refused, refused...)
	settled := h.own.Annotations[keySource] == sourceLease && !w.store.isContended()
	if s.Own.Assigned == (subnet.Assigned{}) && !settled {
		again = sooner(again, w.readClaims(ctx))
		if w.claimsAt.IsZero() { // fail is told why, in words that may change each time
			s.Own.Assigned.Pending = fmt.Sprintf("Node %s has no spec.podCIDR, and which subnets other nodes lease cannot be read now", w.store.cfg.Node)
		}
		s.Leases = append(s.Leases, w.store.reservations(w.claims, s.Leases, own)...)
	} else {
		w.claims, w.claimsAt, w.claimsFault = nil, time.Time{}, nil
	}
	if own != (subnet.Lease{}) {
		s.Leases = append(s.Leases, own)
	}
	subnet.Sort(s.Leases)
	s.Rewound = h.rewound && w.told != nil
	w.tell(s)
	return sooner(again, due)
}

// situation says what the choice of a subnet depends on.
func (w *watch) situation(h heard) situation {
	now := time.Now()
	switch {
	case len(h.own.PodCIDRs) > 0:
		w.without, w.assigned = time.Time{}, true
	case !h.own.Exists:
		w.without = time.Time{} // one that comes waits anew
	case w.without.IsZero():
		w.without = now
	}
	st := situation{node: w.store.cfg.Node, own: *h.own, custom: w.custom, assigned: w.assigned}
	if !w.without.IsZero() {
		st.waited = now.Sub(w.without)
	}
	return st
}

// readClaims reads the Lease objects if they may have changed, and returns when
// to look again.
func (w *watch) readClaims(ctx context.Context) time.Duration {
	left := leasesPeriod - time.Since(w.claimsAt)
	if !w.store.takeStale() && !w.claimsAt.IsZero() && left > 0 {
		return left
	}
	all, err := w.store.listClaims(ctx)
	passes := w.denial.Passes(apierrors.IsForbidden(err))
	if w.claimsFault = err; err != nil {
		w.store.markStale()
		if passes {
			w.claimsFault = nil
		}
		return retry
	}
	w.claims, w.claimsAt = all, time.Now()
	return leasesPeriod
}

// tell passes a snapshot on that differs from the one before.
func (w *watch) tell(s subnet.Snapshot) {
	losses := w.store.lossCount()
	s.OwnLost = w.told != nil && losses != w.losses
	if w.told != nil && !s.OwnLost && !s.Rewound && s.Own == w.told.Own &&
		slices.Equal(s.Leases, w.told.Leases) && slices.Equal(s.Refused, w.told.Refused) {
		return
	}
	w.mu.Lock()
	w.heard.rewound = false
	w.mu.Unlock()
	w.told, w.losses = &s, losses
	w.fn(s)
}

// tellFault tells what is wrong, unless that was told.
func (w *watch) tellFault(err error) {
	gist := ""
	if err != nil {
		gist = nodes.Gist(err)
	}
	if gist != w.fault {
		w.fault = gist
		w.fail(err)
	}
}
