// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func (s *Store) get(ctx context.Context, key string, options ...clientv3.OpOption) ([]*mvccpb.KeyValue, error) {
	var resp *clientv3.GetResponse
	before := s.seen()
	err := s.ask(ctx, "read "+key, func(ctx context.Context, c *clientv3.Client) (err error) {
		resp, err = c.Get(ctx, key, options...)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.observe(before, resp.Header)
	return resp.Kvs, nil
}

// grant makes an etcd lease of the configured TTL, and returns when it ends.
func (s *Store) grant(ctx context.Context) (id clientv3.LeaseID, expires time.Time, err error) {
	err = s.ask(ctx, "make an etcd lease", func(ctx context.Context, c *clientv3.Client) error {
		asked := time.Now()
		resp, err := c.Grant(ctx, int64((s.cfg.TTL+time.Second-1)/time.Second))
		if err == nil {
			id, expires = resp.ID, asked.Add(time.Duration(resp.TTL)*time.Second)
		}
		return err
	})
	return id, expires, err
}

// keepAlive renews an etcd lease, and returns when it ends.
func (s *Store) keepAlive(ctx context.Context, id clientv3.LeaseID) (expires time.Time, err error) {
	err = s.ask(ctx, "renew our etcd lease", func(ctx context.Context, c *clientv3.Client) error {
		asked := time.Now()
		resp, err := c.KeepAliveOnce(ctx, id)
		if err == nil {
			expires = asked.Add(time.Duration(resp.TTL) * time.Second)
		}
		return err
	})
	return expires, err
}

// revoke ends an etcd lease and deletes the keys bound to it, even where ctx
// has ended. If that fails the lease ends by its TTL.
func (s *Store) revoke(ctx context.Context, id clientv3.LeaseID) {
	err := s.ask(context.WithoutCancel(ctx), "end our etcd lease", func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Revoke(ctx, id)
		return err
	})
	if err != nil {
		s.log.Warn("an unused etcd lease stays until it ends by itself", "err", err)
	}
}
