// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// pageKeys is how many keys one request of a list brings.
const pageKeys = 2000

// relist reads the table anew, and tells of it if it differs. It is then known
// which history it is from: where that is another one than before, that is told.
func (w *watch) relist(ctx context.Context) error {
	losses := w.store.lossCount()
	l, err := w.list(ctx)
	if err != nil {
		return err
	}
	rewound := w.told && l.epoch != w.epoch
	w.next, w.mark, w.epoch = l.revision+1, l.mark, l.epoch
	if fresh, _ := (table{}).with(l.entries); !w.told || !fresh.equal(w.table) {
		w.tell(fresh, rewound)
	}
	w.losses = losses // a loss found meanwhile may show only in what comes
	return nil
}

// A listing is all keys at one revision.
type listing struct {
	entries  []entry
	revision int64
	epoch    int  // of the history
	mark     mark // the newest of them
}

// list reads all keys, page by page but at one revision.
func (w *watch) list(ctx context.Context) (listing, error) {
	s, l := w.store, listing{}
	from, end := s.subnets(), clientv3.GetPrefixRangeEnd(s.subnets())
	for {
		var resp *clientv3.GetResponse
		before := s.seen()
		err := s.ask(ctx, "list leases", func(ctx context.Context, c *clientv3.Client) (err error) {
			resp, err = c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys), clientv3.WithRev(l.revision))
			return err
		})
		if err != nil {
			return listing{}, err
		}
		s.observe(before, resp.Header)
		epoch := s.seen().epoch
		if l.revision == 0 {
			l.revision, l.epoch = resp.Header.Revision, epoch
		} else if epoch != l.epoch {
			return listing{}, s.explain("list leases", errRewound)
		}
		for _, kv := range resp.Kvs {
			l.entries = append(l.entries, entry{strings.TrimPrefix(string(kv.Key), s.subnets()), nonNil(kv.Value)})
			if kv.ModRevision > l.mark.revision {
				l.mark = mark{string(kv.Key), kv.ModRevision}
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return l, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// nonNil tells an empty value from a deleted key.
func nonNil(val []byte) []byte {
	if val == nil {
		return []byte{}
	}
	return val
}
