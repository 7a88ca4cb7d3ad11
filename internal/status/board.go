// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"
	"sync"
	"time"
)

// A Board holds the newest report. The loops write to it, servers read from
// it; all methods may be called concurrently.
type Board struct {
	mu     sync.Mutex // guards all following fields
	status Status
	peers  []Peer
}

// NewBoard returns a Board that says s, and is not ready.
func NewBoard(s Status) *Board { return &Board{status: s} }

// Update lets fn change the status. fn must not block, nor keep the pointer.
func (b *Board) Update(fn func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn(&b.status)
}

// SetPeers replaces the list of peers; the caller gives it away.
func (b *Board) SetPeers(peers []Peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers = peers
}

// Status returns a copy.
func (b *Board) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	s.Problems = slices.Clone(s.Problems)
	return s
}

// Peers returns the newest list, which the caller must not change.
func (b *Board) Peers() []Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers
}

// Fault records that part has the problem err, or none (nil). A problem that
// goes on keeps the time it was first seen.
func (s *Status) Fault(part string, err error, now time.Time) {
	i := slices.IndexFunc(s.Problems, func(p Problem) bool { return p.Part == part })
	switch {
	case err == nil && i >= 0:
		s.Problems = slices.Delete(slices.Clone(s.Problems), i, i+1)
	case err == nil:
	case i < 0:
		s.Problems = append(s.Problems, Problem{Part: part, Seen: err.Error(), Since: now})
	default:
		s.Problems[i].Seen = err.Error()
	}
}
