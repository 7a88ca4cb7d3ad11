// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"math/rand/v2"
	"net/url"
	"time"
)

// usualLook is how often the Nodes that have records are looked at.
const usualLook = 10 * time.Minute

// Suspect has the Nodes looked at soon whose records, two or more, cannot all be
// right, such as those that publish one subnet; the most suspicious come first. It
// does not block, and looks again only when a record has changed.
func (w *Watcher) Suspect(names []string) {
	if w.records == nil || len(names) == 0 {
		return
	}
	if fresh := w.merger.suspect(names); len(fresh) > 0 {
		select {
		case w.clashes <- fresh:
		default: // they are in doubt, and looked at later
		}
	}
}

// A node writes its record first and then its Node, within this time; and all
// agents are not to ask at once.
const settling = time.Second

// attend looks at the Nodes that have records at intervals, at those in doubt
// more often, and lets go of those that are gone, until ctx ends. That a look
// fails is no fault: the feeds ask the same server, and tell.
func (w *Watcher) attend(ctx context.Context) {
	every := w.cfg.Records.Every
	if every <= 0 {
		every = usualLook
	}
	all, some := time.NewTimer(rand.N(every/10+1)), time.NewTimer(every/10)
	defer all.Stop()
	defer some.Stop()
	var clash []string
	var soon <-chan time.Time
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-all.C:
			w.look(ctx, nil)
			all.Reset(every - every/4 + rand.N(every/2+1))
		case <-some.C:
			if names := w.merger.suspects(); len(names) > 0 {
				w.look(ctx, names)
			}
			some.Reset(every/20 + rand.N(every/10+1))
		case names := <-w.clashes:
			if clash = append(clash, names...); soon == nil {
				soon = time.After(settling + rand.N(settling+time.Duration(w.cfg.Expect)*time.Millisecond))
			}
		case <-soon:
			w.look(ctx, clash[:min(len(clash), maxSingle)]) // the others are in doubt, and looked at later
			clash, soon = nil, nil
		case <-w.merger.due.C:
			// A node or two go every day. That many go at once is more likely
			// a mistake made with the records, which their Nodes can tell.
			if w.merger.goneCount() > maxSingle && w.look(ctx, nil) != nil {
				w.merger.due.Reset(linger)
				continue
			}
			w.merger.release()
		}
	}
}

// look compares records with what their Nodes say: all, or those that are named.
func (w *Watcher) look(ctx context.Context, names []string) error {
	if len(names) > maxSingle {
		names = nil
	}
	seen, err := w.readLabelled(ctx, names)
	if err != nil {
		w.feed.log.Debug("look at the Nodes that have records", "err", err)
		return err
	}
	w.merger.looked(seen, names)
	return nil
}

// readLabelled reads what the Nodes say that bear the label, from the server's
// memory.
func (w *Watcher) readLabelled(ctx context.Context, names []string) (map[string]Node, error) {
	read := make(map[string]record)
	one := func(name string) error {
		q := query{name: name, labels: w.cfg.Records.Label, values: anyVersion()}
		l, err := w.feed.client.list(ctx, q, trimmer{wanted: w.cfg.Wanted})
		for name, r := range l.records {
			read[name] = r
		}
		return err
	}
	if names == nil {
		names = []string{""} // all
	}
	for _, name := range names {
		if err := one(name); err != nil {
			return nil, err
		}
	}
	t := table{records: read, need: w.cfg.NeedWhole}
	if lacking := t.lacking(true); len(lacking) > 0 {
		whole, err := w.readWhole(ctx, lacking, anyVersion)
		if err != nil {
			return nil, err
		}
		t.fill(lacking, whole)
	}
	return t.snapshot(false).Nodes, nil
}

func anyVersion() url.Values { return url.Values{"resourceVersion": {"0"}} }
