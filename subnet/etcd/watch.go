// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"

	"github.com/percale-net/percale/subnet"
)

const (
	pageKeys = 2000 // per request of a list
	settled  = 10 * time.Second
)

// Watch implements subnet.Store. It lists the keys at one revision and watches
// from the next. Whatever ends that (compaction, no leader, a lost connection)
// starts it over: a fresh list replaces all that was known, so that nothing
// missed in between is missed for ever.
func (s *Store) Watch(ctx context.Context, fn func(subnet.Snapshot), fail func(error)) error {
	w := watch{store: s, fn: fn, fail: fail}
	for delay := minRetry; ; delay = min(2*delay, maxRetry) {
		start, conn := time.Now(), s.current()
		err := w.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.ctx.Err() != nil {
			return errors.New("watch leases: the store is closed")
		}
		s.log.Debug("watch of leases starts over", "err", err)
		if conn.ctx.Err() != nil { // Reconnect ended it: no fault of the server's
			delay = minRetry
			continue
		}
		if time.Since(start) > settled {
			delay = minRetry
		}
		w.failed(err)
		// Jitter, since every node of the cluster lost the same server.
		s.pause(ctx, delay/2+rand.N(delay/2))
	}
}

// A watch is one call of Watch.
type watch struct {
	store    *Store
	fn       func(subnet.Snapshot)
	fail     func(error)
	table    table
	told     bool   // fn was called
	fault    string // gist of what fail was called with last; "": nothing, or nil
	revision int64
}

// failed tells what went wrong, unless that has been told.
func (w *watch) failed(err error) {
	if gist := w.store.gist(err); gist != w.fault {
		w.fault = gist
		w.fail(err)
	}
}

// well tells that all is well, unless that has been told.
func (w *watch) well() {
	if w.fault != "" {
		w.fault = ""
		w.fail(nil)
	}
}

// run lists, watches and returns why the watch ended.
func (w *watch) run(ctx context.Context) error {
	entries, err := w.list(ctx)
	if err != nil {
		return err
	}
	if fresh, _ := (table{}).with(entries); !w.told || !fresh.equal(w.table) {
		w.tell(fresh)
	}

	conn := w.store.current()
	if conn.client == nil {
		return errMoved // and the list must be made through the new one
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	lost := lost(ctx, conn.client)
	events := pump(ctx, func() clientv3.WatchChan {
		return conn.client.Watch(ctx, w.store.subnets(), clientv3.WithPrefix(), clientv3.WithRev(w.revision+1),
			clientv3.WithCreatedNotify(), clientv3.WithProgressNotify())
	})
	for {
		select {
		case resp, open := <-events:
			if !open {
				return w.store.explain("watch leases", errors.New("the watch has ended"))
			}
			if err := w.take(resp, events); err != nil {
				return err
			}
		case <-conn.ctx.Done():
			return errMoved
		case <-lost:
			return w.store.explain("watch leases", errors.New("no connection; does it run, and are the endpoints and TLS files right?"))
		}
	}
}

// take applies a response and all that wait behind it, so that a burst makes
// one snapshot.
func (w *watch) take(resp clientv3.WatchResponse, more <-chan clientv3.WatchResponse) error {
	var entries []entry
	for ok := true; ok; {
		if resp.CompactRevision != 0 {
			return w.store.explain("watch leases", errors.New("etcd has compacted the changes since we last heard of it; all leases are read anew"))
		}
		if err := resp.Err(); err != nil {
			return w.store.explain("watch leases", err)
		}
		w.well() // the server has accepted the watch
		for _, e := range resp.Events {
			key := strings.TrimPrefix(string(e.Kv.Key), w.store.subnets())
			if e.Type == clientv3.EventTypeDelete {
				entries = append(entries, entry{key, nil})
			} else {
				entries = append(entries, entry{key, nonNil(e.Kv.Value)})
			}
		}
		select {
		case resp, ok = <-more:
		default:
			ok = false
		}
	}
	if next, changed := w.table.with(entries); changed {
		w.tell(next)
	}
	return nil
}

func (w *watch) tell(t table) {
	w.table, w.told = t, true
	w.fn(t.snapshot())
}

// list reads all keys, page by page but at one revision, and notes it.
func (w *watch) list(ctx context.Context) ([]entry, error) {
	s := w.store
	from, end := s.subnets(), clientv3.GetPrefixRangeEnd(s.subnets())
	var entries []entry
	w.revision = 0
	for {
		var resp *clientv3.GetResponse
		err := s.ask(ctx, "list leases", func(ctx context.Context, c *clientv3.Client) (err error) {
			resp, err = c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys), clientv3.WithRev(w.revision))
			return err
		})
		if err != nil {
			return nil, err
		}
		if w.revision == 0 {
			w.revision = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			entries = append(entries, entry{strings.TrimPrefix(string(kv.Key), s.subnets()), nonNil(kv.Value)})
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return entries, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// pump passes on what a watch tells through a buffer, so that a burst queues up
// where it can be seen at once. It ends with ctx or the watch.
func pump(ctx context.Context, watch func() clientv3.WatchChan) <-chan clientv3.WatchResponse {
	out := make(chan clientv3.WatchResponse, 1024)
	go func() {
		defer close(out)
		for resp := range watch() { // which blocks until a server has answered
			select {
			case out <- resp:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// lost is closed when no endpoint can be reached. The client resumes a watch by
// itself and tells nobody that it cannot.
func lost(ctx context.Context, c *clientv3.Client) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		conn := c.ActiveConnection()
		for state := conn.GetState(); conn.WaitForStateChange(ctx, state); {
			if state = conn.GetState(); state == connectivity.TransientFailure {
				close(out)
				return
			}
		}
	}()
	return out
}

// pause waits for d, for the end of ctx, or for a connection that comes back or
// is a new one.
func (s *Store) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	conn := s.current()
	stop := context.AfterFunc(conn.ctx, cancel)
	defer stop()
	if c := conn.client; c != nil && c.ActiveConnection().GetState() != connectivity.Ready {
		way := c.ActiveConnection()
		for state := way.GetState(); state != connectivity.Ready && ctx.Err() == nil; state = way.GetState() {
			way.Connect()
			way.WaitForStateChange(ctx, state)
		}
		return
	}
	<-ctx.Done()
}

// nonNil tells an empty value from a deleted key.
func nonNil(val []byte) []byte {
	if val == nil {
		return []byte{}
	}
	return val
}
