// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A history is what etcd's answers have told of its past. Revisions only grow,
// so that a lower one tells that etcd was restored from a backup.
type history struct {
	cluster uint64 // the cluster's id; 0: not known
	newest  int64  // the highest revision that an answer told
	epoch   int    // counts how often another history was found
}

// A mark is a write that etcd has told of: by it one history is told from
// another one that has reached the same revision since.
type mark struct {
	key      string // whole; "": none
	revision int64
}

func (s *Store) seen() history {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history
}

// observe takes the header of an answer to a request that was made when before
// was seen. Such an answer is never older than what was seen then, since etcd
// reads are linearizable.
func (s *Store) observe(before history, h *pb.ResponseHeader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before.epoch != s.history.epoch {
		return // it may be of the old history still
	}
	if before.cluster != 0 && before.cluster != h.ClusterId || h.Revision < before.newest {
		s.rewindLocked()
	}
	s.history.cluster, s.history.newest = h.ClusterId, max(h.Revision, s.history.newest)
}

// reached takes the revision up to which a watch of an epoch has told all.
func (s *Store) reached(epoch int, revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch == s.history.epoch {
		s.history.newest = max(s.history.newest, revision)
	}
}

// rewindLocked forgets what holds in one history only: with the values of an
// earlier time under our key, nobody else has written there.
func (s *Store) rewindLocked() {
	s.history = history{epoch: s.history.epoch + 1}
	for _, c := range s.claims {
		c.held = 0
	}
}

// recalls reports whether etcd's history has the write. If it is compacted away,
// or m is none, only the revision and the cluster tell.
func (s *Store) recalls(ctx context.Context, m mark) (bool, error) {
	before, found := s.seen(), true
	var header *pb.ResponseHeader
	err := s.ask(ctx, "read etcd's history", func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, s.subnets(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		header, found = resp.Header, true
		if m.key == "" {
			return nil
		}
		resp, err = c.Get(ctx, m.key, clientv3.WithRev(m.revision), clientv3.WithKeysOnly())
		switch {
		case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
			return nil
		case errors.Is(rpctypes.Error(err), rpctypes.ErrFutureRev):
			found = false
			return nil
		case err != nil:
			return err
		}
		found = len(resp.Kvs) == 1 && resp.Kvs[0].ModRevision == m.revision
		return nil
	})
	if err != nil {
		return false, err
	}
	s.observe(before, header)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !found && s.history.epoch == before.epoch {
		s.rewindLocked()
	}
	return s.history.epoch == before.epoch, nil
}
