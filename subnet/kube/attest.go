// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// usualAttest is how often at most the Lease objects are looked at that make a
// subnet ours.
const usualAttest = 10 * time.Minute

// attest reports whether our Node publishes l while a Lease object for it is
// gone, or goes with a Node that is gone: Publish would make it anew, before
// another node finds the subnet free. It returns when to ask again; 0: it is not
// by Lease objects that l is ours.
//
// They are read now and then: a watch of all would cost far more than one of
// them ever lost.
func (w *watch) attest(ctx context.Context, own nodes.Own, l subnet.Lease) (lost bool, again time.Duration) {
	source := own.Annotations[keySource]
	if l == (subnet.Lease{}) || source != sourceLease && source != sourceKept {
		w.attestAt = time.Time{}
		return false, 0
	}
	if !w.attestAt.IsZero() && time.Until(w.attestAt) <= 0 {
		w.store.attested(w.store.lacks(ctx, own.UID, l))
		w.attestAt = time.Time{}
	}
	if w.attestAt.IsZero() {
		every := cmp.Or(w.store.cfg.Look, usualAttest)
		w.attestAt = time.Now().Add(every/2 + rand.N(every/2+1))
	}
	return w.store.isLost(own.UID), max(time.Until(w.attestAt), time.Millisecond)
}

// lacks reports whether a Lease object for l is not ours. That one cannot be read
// is no answer, and no fault: the watches ask the same server, and tell.
func (s *Store) lacks(ctx context.Context, uid string, l subnet.Lease) bool {
	for _, p := range l.Subnets() {
		c, err := s.readClaim(ctx, claimName(p))
		if apierrors.IsNotFound(err) || err == nil && (c.Spec.Holder != s.cfg.Node || !c.ownedBy(uid)) {
			return true
		}
	}
	return false
}

// attested notes that Lease objects of ours are gone, until Publish holds them.
func (s *Store) attested(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = s.lost || lost
}

// isLost reports whether Publish has to make Lease objects ours again for the
// Node of that uid.
func (s *Store) isLost(uid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost || s.holder != "" && s.holder != uid
}

// sooner returns the shorter of two times to wait; 0: for ever.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
