// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"fmt"
	"net/netip"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/percale-net/percale/subnet"
)

// A claim is what this process made of one key. It tells what we wrote from
// what another node of our name wrote.
type claim struct {
	said map[uplinks]bool // what we wrote, or tried to: a write that failed may have been done
	// held is the key's revision when it was last known to be as we want it; 0:
	// never in this history of etcd. An older value comes from a restored backup
	// and was not written since.
	held int64
}

// uplinks are where a lease says that its node is.
type uplinks struct{ v4, v6 netip.Addr }

func uplinksOf(l subnet.Lease) (u uplinks) {
	if l.V4.Subnet.IsValid() {
		u.v4 = l.V4.Uplink
	}
	if l.V6.Subnet.IsValid() {
		u.v6 = l.V6.Uplink
	}
	return u
}

// intend notes that we shall write own.
func (s *Store) intend(key string, own subnet.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.claims[key]
	if c == nil {
		c = &claim{said: make(map[uplinks]bool)}
		s.claims[key] = c
	}
	c.said[uplinksOf(own)] = true
}

// hold notes that the key was as we want it at the revision.
func (s *Store) hold(key string, revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[key]; c != nil {
		c.held = revision
	}
}

// miss notes that the key, which we may have held, is not there.
func (s *Store) miss(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[key]; c != nil && c.held != 0 {
		s.losses++
	}
}

// lossCount returns how often Publish missed what it had published.
func (s *Store) lossCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.losses
}

// forget notes that the key is no longer ours.
func (s *Store) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, key)
}

// confirmedClash is clash, but of a key of another history: what etcd was
// restored to, another node need not have written.
func (p publication) confirmedClash(ctx context.Context, kv *mvccpb.KeyValue) error {
	clash := p.clash(kv)
	if clash == nil {
		return nil
	}
	p.store.mu.Lock()
	ours := mark{key: p.key}
	if c := p.store.claims[p.key]; c != nil {
		ours.revision = c.held
	}
	p.store.mu.Unlock()
	if ours.revision == 0 {
		return nil // another history was found, or the key was given up meanwhile
	}
	if same, err := p.store.recalls(ctx, ours); err != nil || !same {
		return err
	}
	return clash
}

// clash returns ErrNameClash if kv, which bears our name, was written by another
// node after we held it.
func (p publication) clash(kv *mvccpb.KeyValue) error {
	at := placeOf(p.own)
	l, err := decodeValue(at, kv.Value)
	if err != nil || l.Node != p.own.Node {
		return nil // ours in another way; see held
	}
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	c := p.store.claims[p.key]
	if c == nil || c.held == 0 || kv.ModRevision <= c.held || c.said[uplinksOf(l)] {
		return nil
	}
	ours := uplinksOf(p.own)
	for e := range l.Endpoints() {
		if e.Uplink.IsValid() && e.Uplink != ours.v4 && e.Uplink != ours.v6 {
			return fmt.Errorf("publish lease: %w: lease %s says that %s is at %s", subnet.ErrNameClash, e.Subnet, l.Node, e.Uplink)
		}
	}
	return nil // cleared by hand, perhaps; nobody else is there
}
