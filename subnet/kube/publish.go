// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// rightsRetry is how long Publish waits where it is refused for want of rights.
const rightsRetry = time.Second

// Publish implements subnet.Store. Annotations are written only where they
// differ, on the Node and on its record. A subnet that the cluster did not assign
// is made ours by a Lease object first. None ever ends while the Node exists.
func (s *Store) Publish(ctx context.Context, own subnet.Lease) (time.Time, error) {
	switch {
	case own.Node == "":
		return time.Time{}, errors.New("publish lease: it has no node name")
	case own.Node != s.cfg.Node:
		return time.Time{}, fmt.Errorf("publish lease of %s: this node is %s", own.Node, s.cfg.Node)
	}
	var denial nodes.Denial
	for lost := 0; lost < tries; {
		err := s.publishOnce(ctx, own)
		switch {
		case apierrors.IsConflict(err):
			lost++
			continue
		case !denial.Passes(apierrors.IsForbidden(err)):
			return time.Time{}, err
		}
		select {
		case <-time.After(rightsRetry):
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
	return time.Time{}, fmt.Errorf("publish lease: %w, %d times", errRace, tries)
}

// publishOnce fails with a conflict where the Node is replaced meanwhile.
func (s *Store) publishOnce(ctx context.Context, own subnet.Lease) error {
	n, err := s.node(ctx, s.cfg.Node)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("publish lease: the cluster has no Node %s; see --node-name (or NODE_NAME), and: kubectl get nodes: %w", s.cfg.Node, err)
	}
	if err != nil {
		return err
	}
	uid := n.Metadata.UID
	source := sourceOf(own, n.assigned(), s.isPending())
	if source != sourceCluster {
		if err := s.allocate(ctx, uid, own); err != nil {
			return err
		}
	}
	s.miss(n.Metadata.Annotations[s.keys.manager] != yes)
	want := s.keys.encode(own, source)
	label, err := s.record(ctx, uid, want) // first, or nobody would see us in between
	if err != nil {
		return err
	}
	if err := s.annotate(ctx, n, want, label); err != nil {
		return err
	}
	s.hold(uid)
	return nil
}

// Release implements subnet.Store. Where our Node publishes just what is
// released, its annotations and its record go. Lease objects for subnets that it does not
// publish go in any case.
func (s *Store) Release(ctx context.Context, own subnet.Lease) error {
	n, err := s.node(ctx, s.cfg.Node)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	have := n.Metadata.Annotations
	kept, _ := parseSubnets(have[keySubnets])
	if have[keySubnets] == joinSubnets(own.Subnets()) {
		if err := s.unpublish(ctx, n); err != nil {
			return err
		}
		s.forget()
		kept = nil
	}
	for _, p := range own.Subnets() {
		if slices.Contains(kept, p) {
			continue
		}
		if err := s.disclaim(ctx, claimName(p)); err != nil {
			return err
		}
	}
	return nil
}

// miss notes, where it is so, that what we published is gone.
func (s *Store) miss(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gone && s.held {
		s.losses++
		s.held = false
	}
}

// hold notes that our Node, of that uid, bears what we published.
func (s *Store) hold(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost || s.holder != uid {
		s.kick()
	}
	s.held, s.holder, s.lost, s.contended = true, uid, false, false
}

// forget notes that we publish nothing any more.
func (s *Store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.holder, s.lost = false, "", false
}

// lossCount returns how often Publish missed what it had published.
func (s *Store) lossCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.losses
}

// setPending notes whether our Node waits for a pod CIDR.
func (s *Store) setPending(pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = pending
}

func (s *Store) isPending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending
}
