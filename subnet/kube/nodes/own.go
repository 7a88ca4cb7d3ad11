// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"cmp"
	"context"
	"log/slog"
)

// WatchOwn passes on our own Node object, whole, at first and when something in
// it has changed that an Own holds, until ctx ends. That it does not exist is no
// error: Exists tells it. What goes wrong is told as Watcher.Run has it. Of cfg
// it uses Client, Wanted, Log and the label of Records.
func WatchOwn(ctx context.Context, cfg Config, name string, fn func(Own), fail func(error)) error {
	c, err := newClient(cfg.Client)
	if err != nil {
		return err
	}
	f := &feed{
		client: c, query: query{name: name, whole: true}, fail: fail, expect: cfg.Expect,
		trimmer: trimmer{wanted: cfg.Wanted, whole: true},
		log:     cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
	}
	if cfg.Records != nil {
		f.trimmer.label = cfg.Records.Label
	}
	f.tell = func(_ context.Context, changed, _ bool) error {
		if changed {
			r, exists := f.table.records[name]
			fn(Own{Node: r.Node, Exists: exists, Labelled: r.labelled, Conditions: r.conditions})
		}
		return nil
	}
	return f.run(ctx)
}
