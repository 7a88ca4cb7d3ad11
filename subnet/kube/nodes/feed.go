// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"
)

const (
	minRetry = 250 * time.Millisecond
	maxRetry = 30 * time.Second // in the largest clusters; see retryLimit

	// settled is how long a watch must have lasted for its end to be no fault.
	settled = 10 * time.Second
)

var (
	errServer  = errors.New("what answers is no Kubernetes API server")
	errRewound = errors.New("the API server tells another history than before: " +
		"its etcd was restored from a backup or replaced; all Nodes are read anew")
)

// A feed keeps a table as the API server says. Its functions are called from
// the goroutine of run.
type feed struct {
	client  *client
	query   query // which Nodes, and whether whole
	trimmer trimmer
	log     *slog.Logger
	expect  int // how many Nodes there may be, beside those in the table

	// tell is called with each change of the table; first at the first list. Where
	// it returns an error the list was not told, and is made again.
	tell func(ctx context.Context, changed, rewound bool) error
	wake <-chan time.Time // makes tell be called with no change
	fail func(error)

	table   table
	history history
	listed  bool   // the table is a whole one
	next    uint64 // watch from here; 0: list anew
	rewound bool   // not told yet
	denial  Denial
	fault   string // Gist of what fail was called with last; "": nothing, or nil

	watching time.Time // when the watch of this turn began; zero: not yet
	brief    bool      // the last watch ended soon
	fresh    bool      // this turn has listed
}

// retryLimit returns the longest time between two attempts to reach a server
// that is away. It grows with the number of agents that will ask at once when
// the server is back; few of them need not make each other wait.
func retryLimit(nodes int) time.Duration {
	return min(2*time.Second+time.Duration(nodes)*5*time.Millisecond, maxRetry)
}

// run follows the server until ctx ends.
func (f *feed) run(ctx context.Context) error {
	for delay := minRetry; ; delay = min(2*delay, retryLimit(max(f.expect, len(f.table.records)))) {
		f.watching = time.Time{}
		err := f.turn(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.log.Debug("watch starts over", "of", f.query.what(), "err", err)
		f.brief = !f.watching.IsZero() && time.Since(f.watching) < settled
		if !f.watching.IsZero() && !f.brief {
			delay = minRetry
		}
		wait := delay/2 + rand.N(delay/2) // since all agents have lost the same server
		if after := f.judge(err); wait < after {
			wait = after
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// turn lists if it must, and watches. It returns why the watch ended; nil if
// the server ended it.
func (f *feed) turn(ctx context.Context) error {
	if f.fresh = f.next == 0; !f.fresh {
		if err := f.verify(ctx); err != nil {
			return err
		}
	}
	if f.next == 0 {
		if err := f.relist(ctx); err != nil {
			return err
		}
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	events, why, err := f.client.watch(watching, f.query, f.next, f.trimmer)
	if err != nil {
		return err
	}
	f.watching = time.Now()
	var steady <-chan time.Time // a watch that ends as soon as it begins is not well
	if f.brief {
		steady = time.After(settled)
	} else {
		f.well()
	}
	for {
		select {
		case <-steady:
			f.well()
		case <-f.wake:
			err = f.tell(ctx, false, false)
		case e, open := <-events:
			if !open {
				return why()
			}
			err = f.take(ctx, e, events)
		}
		if err != nil {
			return err
		}
	}
}

// take applies an event and all that wait behind it, so that a burst makes one
// snapshot.
func (f *feed) take(ctx context.Context, e event, more <-chan event) error {
	changed := false
	var err error
	for open := true; open && err == nil; {
		var one bool
		one, err = f.apply(e)
		changed = changed || one
		select {
		case e, open = <-more: // a closed one is seen again
		default:
			open = false
		}
	}
	if changed {
		return errors.Join(err, f.tell(ctx, true, false))
	}
	return err
}

// apply takes one event.
func (f *feed) apply(e event) (changed bool, err error) {
	if e.err != nil {
		return false, e.err
	}
	if e.version != 0 && e.version < f.next {
		return false, errRewound // which verify confirms, or not
	}
	f.next = max(f.next, e.version)
	f.history.reached(e.version)
	switch {
	case e.kind == "BOOKMARK":
		return false, nil
	case !e.ok && e.kind == "DELETED":
		return f.table.omitted.drop(e.Name), nil
	case !e.ok:
		return f.table.omitted.add(e.Name), nil
	case e.kind == "DELETED":
		return f.table.drop(e.record), nil
	case e.kind == "ADDED" || e.kind == "MODIFIED":
		f.history.changed(e.record)
		return f.table.set(e.record), nil
	}
	return false, fmt.Errorf("%w: it tells of an event %q", errServer, e.kind)
}

// relist reads all Nodes. The first list may come from the server's memory, as
// old as it is; a later one must not be older than what is known.
func (f *feed) relist(ctx context.Context) error {
	q := f.query
	q.values = url.Values{"resourceVersion": {"0"}}
	if f.history.newest != 0 {
		q.values = url.Values{
			"resourceVersion":      {strconv.FormatUint(f.history.newest, 10)},
			"resourceVersionMatch": {"NotOlderThan"},
		}
	}
	var l listing
	err := error(&refusal{tooNew: true})
	if !f.rewound {
		l, err = f.client.list(ctx, q, f.trimmer)
	}
	if r := (*refusal)(nil); errors.As(err, &r) && (r.tooNew || r.expired()) {
		// Behind, or another history: what etcd says now decides.
		q.values = url.Values{"limit": {strconv.Itoa(pageSize)}}
		l, err = f.client.list(ctx, q, f.trimmer)
	}
	if err != nil {
		return err
	}
	if f.listed && !f.history.recalls(f.table.records, l) {
		f.forget()
	}
	changed := f.table.replace(l) || !f.listed || f.rewound
	if err := f.tell(ctx, changed, f.rewound); err != nil {
		return err
	}
	f.listed, f.rewound, f.next = true, false, l.version
	f.history.listed(l)
	return nil
}

// forget drops what holds in one history only.
func (f *feed) forget() {
	f.log.Warn("the API server's history is another one than before; was its etcd restored from a backup?")
	f.rewound, f.next, f.history = true, 0, history{all: f.history.all}
	f.table.doubt()
}

// mark returns the name of the object that changed last; "": it is not known.
func (f *feed) mark() string {
	if name := f.history.mark.Name; name == "" || !f.trimmer.record {
		return name
	}
	return RecordName(f.history.mark.Name)
}

// verify checks that the server is there and still tells the history that the
// table is from: a watch would begin without complaint at a version that a
// restored etcd reaches only later, and what happens before would never be told.
// It costs one Node's metadata.
func (f *feed) verify(ctx context.Context) error {
	q := f.query
	q.name, q.whole, q.labels, q.values = f.mark(), false, "", url.Values{"limit": {"1"}}
	now := listing{records: make(map[string]record)}
	if err := f.client.page(ctx, q, &trimmer{record: f.trimmer.record}, &now); err != nil {
		return err
	}
	if !f.history.recalls(nil, now) {
		f.forget() // and what is different now, the list tells
	}
	return nil
}
