// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"path"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func (s *Store) confKey() string { return path.Join(s.cfg.Prefix, "config") }

// NetConf returns the cluster's network configuration as it is in
// <prefix>/config.
func (s *Store) NetConf(ctx context.Context) ([]byte, error) {
	key := s.confKey()
	var val []byte
	err := s.ask(ctx, "read "+key, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, key)
		if err == nil && len(resp.Kvs) > 0 {
			val = resp.Kvs[0].Value
		}
		return err
	})
	if err == nil && val == nil {
		err = fmt.Errorf("read %s: no such key in etcd; write the network configuration there, for example: "+
			`%s put %s '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'`, key, s.etcdctl(), key)
	}
	if err != nil {
		return nil, err
	}
	return val, nil
}

// WatchNetConf calls kick after each change of what NetConf returns, and when
// it has begun to watch, which it does anew whenever the connection breaks,
// until ctx ends. It returns why the watch broke; a server that is away for a
// while is no reason.
func (s *Store) WatchNetConf(ctx context.Context, kick func()) error {
	for ctx.Err() == nil {
		conn, err := s.dial(ctx)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return s.explain("watch "+s.confKey(), err)
		}
		if err := s.watchConf(ctx, conn, kick); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// watchConf watches until ctx or the connection ends, which is no error.
func (s *Store) watchConf(ctx context.Context, conn connection, kick func()) error {
	limited, cancel := context.WithCancel(withOneStream(ctx))
	defer cancel()
	defer context.AfterFunc(conn.ctx, cancel)()
	watcher := clientv3.NewWatcher(conn.client)
	defer watcher.Close()
	// The note that the watch stands kicks too, for what changed before.
	for resp := range watcher.Watch(limited, s.confKey(), clientv3.WithCreatedNotify()) {
		if err := resp.Err(); isBroken(err) {
			s.pause(ctx, minRetry)
			return nil
		} else if err != nil {
			return s.explain("watch "+s.confKey(), err)
		}
		kick()
	}
	if limited.Err() != nil {
		return nil
	}
	return s.explain("watch "+s.confKey(), errors.New("the watch has ended"))
}
