// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/subnet"
)

// Release implements subnet.Store.
func (s *Store) Release(ctx context.Context, own subnet.Lease) error {
	key := s.subnets() + placeOf(own).key()
	for range tries {
		kvs, err := s.get(ctx, key)
		if err != nil {
			return err
		}
		if len(kvs) == 0 || s.held(kvs[0], own) != nil {
			s.forget(key)
			return nil
		}
		var resp *clientv3.TxnResponse
		before := s.seen()
		err = s.ask(ctx, "delete "+key, func(ctx context.Context, c *clientv3.Client) (err error) {
			resp, err = c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kvs[0].ModRevision)).
				Then(clientv3.OpDelete(key)).Commit()
			return err
		})
		if err != nil {
			return err
		}
		s.observe(before, resp.Header)
		if resp.Succeeded {
			s.forget(key)
			return nil
		}
	}
	return fmt.Errorf("delete %s: %w, %d times", key, errRace, tries)
}
