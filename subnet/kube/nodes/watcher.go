// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// maxSingle is up to how many Nodes are read whole one by one, and not in a
	// list of all.
	maxSingle = 8

	// maxSpread bounds how long the first request is delayed.
	maxSpread = 30 * time.Second

	// Pod CIDRs that are not assigned yet are asked for again at intervals.
	minReread = time.Second
	maxReread = 5 * time.Minute
)

// A Watcher watches all Nodes.
type Watcher struct {
	cfg     Config
	feed    *feed
	records *feed // nil: none
	merger  merger
	clashes chan []string // Nodes to look at; see Suspect

	reread *time.Timer   // asks again for pod CIDRs that are lacking
	delay  time.Duration // of reread
}

// New returns a Watcher, which does nothing until Run. An error is a client
// configuration that cannot work, such as a missing certificate file.
func New(cfg Config) (*Watcher, error) {
	c, err := newClient(cfg.Client)
	if err != nil {
		return nil, err
	}
	w := &Watcher{cfg: cfg, delay: minReread, reread: time.NewTimer(maxReread)}
	w.reread.Stop()
	log := cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	w.feed = &feed{
		client: c, trimmer: trimmer{wanted: cfg.Wanted}, table: table{need: cfg.NeedWhole}, log: log,
		tell: w.tell, wake: w.reread.C, fail: func(err error) { w.merger.failed(0, err) },
		history: history{all: cfg.Records == nil}, expect: cfg.Expect,
	}
	w.merger.parts = make([]part, 1, 2)
	if r := cfg.Records; r != nil {
		w.feed.query.labels = "!" + r.Label
		w.records = &feed{
			client: c, query: query{leases: r.Namespace, labels: r.Label}, trimmer: trimmer{wanted: cfg.Wanted, record: true}, log: log,
			tell: w.tellRecords, fail: func(err error) { w.merger.failed(1, err) }, expect: cfg.Expect,
		}
		w.merger.parts = append(w.merger.parts, part{})
		w.merger.due = time.NewTimer(linger)
		w.clashes = make(chan []string, 1)
	}
	return w, nil
}

// Run passes whole snapshots, never deltas, to fn until ctx ends, and then
// returns ctx's error. It first calls fn when it knows every Node, and then only
// when something wanted has changed. Neither fn nor fail is called concurrently.
// What goes wrong is retried inside and told through fail as subnet.Store.Watch
// has it: once, and again only when something else goes wrong; then nil, once,
// when all is well again. Run may be called once.
func (w *Watcher) Run(ctx context.Context, fn func(Snapshot), fail func(error)) error {
	w.merger.fn, w.merger.fail = fn, fail
	spread := min(time.Duration(w.cfg.Expect)*time.Millisecond, maxSpread)
	select {
	case <-time.After(rand.N(spread + 1)):
	case <-ctx.Done():
	}
	defer w.reread.Stop()
	var all sync.WaitGroup
	if w.records != nil {
		all.Go(func() { w.records.run(ctx) })
		all.Go(func() { w.attend(ctx) })
		defer w.merger.due.Stop()
	}
	err := w.feed.run(ctx) // all end with ctx alone
	all.Wait()
	return err
}

// tellRecords passes on what the records say.
func (w *Watcher) tellRecords(_ context.Context, changed, rewound bool) error {
	if changed {
		w.merger.tell(1, w.records.table.snapshot(rewound))
	}
	return nil
}

// tell reads what else is needed, and passes a snapshot on if it is another one.
// That pod CIDRs cannot be read holds up the first snapshot only: it would look
// as if those Nodes had none.
func (w *Watcher) tell(ctx context.Context, changed, rewound bool) error {
	asked := !changed // woken
	filled, err := w.complete(ctx, asked)
	if err != nil && !w.feed.listed {
		return err
	}
	switch {
	case err != nil:
		w.feed.failed(err)
	case filled && !w.feed.watching.IsZero():
		w.feed.well()
	}
	if changed || filled {
		w.merger.tell(0, w.feed.table.snapshot(rewound))
	}
	return nil
}

// complete reads the pod CIDRs that are lacking: those of Nodes that have
// changed, or all. It is one list of whole Nodes at most, since pod CIDRs once
// assigned are never read again.
func (w *Watcher) complete(ctx context.Context, all bool) (changed bool, err error) {
	t := &w.feed.table
	if names := t.lacking(all); len(names) > 0 {
		var read map[string]record
		read, err = w.readWhole(ctx, names, func() url.Values { return w.notOlder(names) })
		changed = t.fill(names, read)
	}
	if len(t.lacking(true)) == 0 {
		w.reread.Stop()
		w.delay = minReread
	} else if all || w.delay == minReread {
		w.reread.Reset(w.delay/2 + rand.N(w.delay))
		w.delay = min(2*w.delay, maxReread)
	}
	return changed, err
}

// readWhole reads Nodes whole, in a version that fits. Those that are gone are
// left out.
func (w *Watcher) readWhole(ctx context.Context, names []string, version func() url.Values) (map[string]record, error) {
	t := trimmer{whole: true}
	if len(names) > maxSingle {
		l, err := w.feed.client.list(ctx, query{whole: true, values: version()}, t)
		return l.records, err
	}
	read := make(map[string]record)
	var errs []error
	for _, name := range names {
		l, err := w.feed.client.list(ctx, query{name: name, whole: true, values: version()}, t)
		errs = append(errs, err)
		if r, ok := l.records[name]; ok {
			read[name] = r
		}
	}
	return read, errors.Join(errs...)
}

// notOlder asks for a state that has the Nodes at least as they are known.
func (w *Watcher) notOlder(names []string) url.Values {
	version := uint64(0)
	for _, name := range names {
		version = max(version, w.feed.table.records[name].version)
	}
	return url.Values{"resourceVersion": {strconv.FormatUint(version, 10)}, "resourceVersionMatch": {"NotOlderThan"}}
}
