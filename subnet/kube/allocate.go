// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/percale-net/percale/subnet"
)

// tries is how often a lost race is run again. To lose one, somebody else must
// change the very same object in the same milliseconds.
const tries = 5

var errRace = errors.New("another writer was faster")

// allocate makes the subnets of own ours, all of them or none. It returns
// ErrTaken where another node holds one, or a part of one.
func (s *Store) allocate(ctx context.Context, uid string, own subnet.Lease) error {
	var made []netip.Prefix
	giveUp := func(err error) error {
		if errors.Is(err, subnet.ErrTaken) {
			s.contend()
		}
		for _, p := range made {
			err = errors.Join(err, s.disclaim(ctx, claimName(p)))
		}
		return err
	}
	for e := range own.Endpoints() {
		fresh, err := s.acquire(ctx, uid, e.Subnet)
		if err != nil {
			return giveUp(err)
		}
		if fresh {
			made = append(made, e.Subnet)
		}
	}
	if made == nil {
		return nil
	}
	// Subnets of another length have other names. Of two nodes that overlap,
	// the later one sees the earlier one's claim, so that never both keep theirs.
	if err := s.verify(ctx, own); err != nil {
		return giveUp(err)
	}
	return nil
}

// acquire makes one subnet ours, and reports whether it was not before.
func (s *Store) acquire(ctx context.Context, uid string, p netip.Prefix) (fresh bool, err error) {
	for range tries {
		err := s.createClaim(ctx, s.newClaim(claimName(p), uid))
		if !apierrors.IsAlreadyExists(err) {
			return err == nil, err
		}
		c, err := s.readClaim(ctx, claimName(p))
		switch {
		case apierrors.IsNotFound(err): // it went meanwhile
			continue
		case err != nil:
			return false, err
		case c.Spec.Holder != s.cfg.Node:
			return false, fmt.Errorf("publish lease: %w: %s is held by %s, says Lease %s in namespace %s",
				subnet.ErrTaken, p, c.holder(), c.Metadata.Name, s.cfg.Namespace)
		case c.ownedBy(uid):
			return false, nil
		}
		// It is of a Node of our name that is gone, and would go with that.
		c.Metadata.OwnerReferences = s.newClaim(c.Metadata.Name, uid).Metadata.OwnerReferences
		if err = s.updateClaim(ctx, c); err == nil || !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return false, err
		}
	}
	return false, fmt.Errorf("publish lease %s: %w, %d times", p, errRace, tries)
}

// verify returns ErrTaken where another node claims what overlaps own.
func (s *Store) verify(ctx context.Context, own subnet.Lease) error {
	all, err := s.listClaims(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		p, ok := parseClaimName(c.Metadata.Name)
		if !ok || c.Spec.Holder == s.cfg.Node {
			continue
		}
		for e := range own.Endpoints() {
			if e.Subnet.Overlaps(p) {
				return fmt.Errorf("publish lease: %w: %s overlaps %s, which %s holds", subnet.ErrTaken, e.Subnet, p, c.holder())
			}
		}
	}
	return nil
}

// disclaim deletes a claim of ours, and nothing that another node holds. An absent
// one is success.
func (s *Store) disclaim(ctx context.Context, name string) error {
	for range tries {
		c, err := s.readClaim(ctx, name)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		case c.Spec.Holder != s.cfg.Node:
			return nil
		}
		if err := s.deleteClaim(ctx, c); err == nil || apierrors.IsNotFound(err) {
			return nil
		} else if !apierrors.IsConflict(err) {
			return err
		}
	}
	return fmt.Errorf("release Lease %s: %w, %d times", name, errRace, tries)
}

// contend has Watch read the Lease objects again, and tell of them until we hold
// a subnet.
func (s *Store) contend() {
	s.mu.Lock()
	s.stale, s.contended = true, true
	s.mu.Unlock()
	s.kick()
}

// isContended reports whether a subnet that we chose was another's.
func (s *Store) isContended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contended
}

func (s *Store) markStale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
}

// takeStale reports whether the Lease objects may have changed, once.
func (s *Store) takeStale() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.stale
	s.stale = false
	return was
}
