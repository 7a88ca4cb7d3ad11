// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/percale-net/percale/subnet/kube/nodes"
)

// record makes our Node's record say what the Node is to say. It reports whether
// there is one: a Node with a very long name has none.
func (s *Store) record(ctx context.Context, uid string, want map[string]string) (bool, error) {
	name := nodes.RecordName(s.cfg.Node)
	if name == "" {
		return false, nil
	}
	fresh := s.newClaim(name, uid)
	fresh.Metadata.Labels, fresh.Metadata.Annotations = map[string]string{labelRecord: yes}, want
	for range tries {
		have, err := s.readClaim(ctx, name)
		switch {
		case apierrors.IsNotFound(err):
			err = s.createClaim(ctx, fresh)
		case err == nil && !have.records(fresh):
			fresh.Metadata.UID, fresh.Metadata.ResourceVersion = have.Metadata.UID, have.Metadata.ResourceVersion
			err = s.updateClaim(ctx, fresh)
			fresh.Metadata.UID, fresh.Metadata.ResourceVersion = "", ""
		}
		if !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err == nil, err
		}
	}
	return false, fmt.Errorf("publish Lease %s: %w, %d times", name, errRace, tries)
}

// records reports whether a record is what it is to be.
func (c claim) records(want claim) bool {
	owner := want.Metadata.OwnerReferences[0]
	return c.Spec == want.Spec && len(c.Metadata.OwnerReferences) == 1 && c.Metadata.OwnerReferences[0] == owner &&
		maps.Equal(c.Metadata.Labels, want.Metadata.Labels) && maps.Equal(c.Metadata.Annotations, want.Metadata.Annotations)
}

// unpublish takes from our Node what we wrote there, and then its record, so that
// the Node is seen without the one before it is without the other.
func (s *Store) unpublish(ctx context.Context, n node) error {
	if err := s.annotate(ctx, n, nil, false); err != nil {
		return err
	}
	if name := nodes.RecordName(s.cfg.Node); name != "" {
		return s.disclaim(ctx, name)
	}
	return nil
}

// unrecorded reports whether our Node, which publishes a lease, lacks its label
// or its record, or the record says something else.
func (k keys) unrecorded(own nodes.Own, records map[string]nodes.Node) bool {
	if nodes.RecordName(own.Name) == "" {
		return own.Labelled
	}
	r, there := records[own.Name]
	if !own.Labelled || !there || r.UID != own.UID {
		return true
	}
	for _, key := range k.published {
		said, is := own.Annotations[key]
		if recorded, has := r.Annotations[key]; recorded != said || has != is {
			return true
		}
	}
	return false
}
