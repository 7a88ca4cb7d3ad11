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

// settled is how long a watch must have lasted for its end to be no fault.
const settled = 10 * time.Second

// errRewound says that the table is not from etcd's history.
var errRewound = errors.New("it tells another history than before: it was restored from a backup or replaced; all leases are read anew")

// Watch implements subnet.Store. It lists the keys at one revision and watches
// from the next. What breaks the watch starts it over where it was, once etcd
// has shown that its history is still the same; else, and where etcd has
// compacted what came since, a fresh list replaces all that was known, so that
// nothing missed in between is missed for ever.
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
		lasted := time.Since(start) > settled
		if lasted {
			delay = minRetry
		}
		if !lasted || !errors.Is(err, errBroken) { // as when one server of many restarts
			w.failed(err)
		}
		// Jitter, since every node of the cluster lost the same server.
		s.pause(ctx, delay/2+rand.N(delay/2))
	}
}

// A watch is one call of Watch.
type watch struct {
	store  *Store
	fn     func(subnet.Snapshot)
	fail   func(error)
	table  table
	told   bool   // fn was called
	losses int    // of the store, when fn was called
	fault  string // gist of what fail was called with last; "": nothing, or nil

	next  int64 // the first revision that the table does not know; 0: list anew
	mark  mark  // a write that the table knows, if any
	epoch int   // of the history that the table is from
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

// run lists if it must, watches and returns why the watch ended.
func (w *watch) run(ctx context.Context) error {
	if w.next == 0 {
		if err := w.relist(ctx); err != nil {
			return err
		}
	}
	conn, err := w.store.dial(ctx)
	if err != nil {
		return w.store.explain("watch leases", err)
	}
	ctx, cancel := context.WithCancel(withOneStream(clientv3.WithRequireLeader(ctx)))
	defer cancel()
	watcher := clientv3.NewWatcher(conn.client) // alone: streams are not shared
	defer watcher.Close()
	lost, next := lost(ctx, conn.client), w.next
	events := pump(ctx, func() clientv3.WatchChan {
		return watcher.Watch(ctx, w.store.subnets(), clientv3.WithPrefix(), clientv3.WithRev(next),
			clientv3.WithCreatedNotify(), clientv3.WithProgressNotify())
	})
	for {
		select {
		case resp, open := <-events:
			if !open {
				return w.store.explain("watch leases", errBroken)
			}
			if err := w.hear(ctx, resp, events); err != nil {
				return err
			}
		case <-conn.ctx.Done():
			return errMoved
		case <-lost:
			if err := w.verify(ctx); err != nil { // a request tells why
				return err
			}
			return w.store.explain("watch leases", errBroken)
		}
	}
}

// hear takes a response; the first one, once it is known what history it is of.
func (w *watch) hear(ctx context.Context, resp clientv3.WatchResponse, more <-chan clientv3.WatchResponse) error {
	if resp.Created {
		if err := w.verify(ctx); err != nil {
			return err
		}
	}
	return w.take(resp, more)
}

// verify returns an error unless etcd tells the history that the table is from.
// It must be called when the watch is made: what a restored etcd writes below
// the revision that is watched from would never be told.
func (w *watch) verify(ctx context.Context) error {
	same, err := w.store.recalls(ctx, w.mark)
	if err == nil && (!same || w.store.seen().epoch != w.epoch) {
		w.next = 0
		err = w.store.explain("watch leases", errRewound)
	}
	return err
}

// take applies a response and all that wait behind it, so that a burst makes
// one snapshot.
func (w *watch) take(resp clientv3.WatchResponse, more <-chan clientv3.WatchResponse) error {
	var entries []entry
	var err error
	for ok := true; ok; {
		if err = w.fate(resp); err != nil {
			break
		}
		w.well() // the server has accepted the watch
		for _, e := range resp.Events {
			key := strings.TrimPrefix(string(e.Kv.Key), w.store.subnets())
			w.next = e.Kv.ModRevision + 1
			if e.Type == clientv3.EventTypeDelete {
				entries = append(entries, entry{key, nil})
			} else {
				entries = append(entries, entry{key, nonNil(e.Kv.Value)})
				w.mark = mark{string(e.Kv.Key), e.Kv.ModRevision}
			}
		}
		if resp.IsProgressNotify() {
			w.next = resp.Header.Revision + 1
		}
		select {
		case resp, ok = <-more:
		default:
			ok = false
		}
	}
	w.store.reached(w.epoch, w.next-1)
	if next, changed := w.table.with(entries); changed {
		w.tell(next, false)
	}
	return err
}

// fate returns why a response is the last one, if it is.
func (w *watch) fate(resp clientv3.WatchResponse) error {
	if resp.CompactRevision != 0 {
		w.next = 0
		return w.store.explain("watch leases", errors.New("etcd has compacted the changes since we last heard of it; all leases are read anew"))
	}
	err := resp.Err()
	switch {
	case err == nil:
		return nil
	case isBroken(err):
		return w.store.explain("watch leases", errBroken)
	default:
		w.next = 0
		return w.store.explain("watch leases", err)
	}
}

// tell passes the table on.
func (w *watch) tell(t table, rewound bool) {
	losses, first := w.store.lossCount(), !w.told
	snapshot := t.snapshot()
	snapshot.OwnLost, snapshot.Rewound = !first && losses != w.losses, rewound
	w.table, w.told, w.losses = t, true, losses
	w.fn(snapshot)
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
