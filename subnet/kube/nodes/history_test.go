// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"errors"
	"io"
	"net/url"
	"testing"
	"time"
)

func recordsOf(all ...record) map[string]record {
	out := make(map[string]record)
	for _, r := range all {
		out[r.Name] = r
	}
	return out
}

// TestRecalls: each sign of another history is enough.
func TestRecalls(t *testing.T) {
	t.Parallel()
	at := func(name, uid string, version uint64) record { return published(name, uid, version, "x") }
	before := recordsOf(at("n1", "u1", 10), at("n2", "u2", 20))
	for name, row := range map[string]struct {
		now     listing
		partial bool // lists hold some Nodes
		want    bool
	}{
		"same":                   {now: listing{version: 30, records: before}, want: true},
		"later":                  {now: listing{version: 40, records: recordsOf(at("n1", "u1", 35))}, want: true},
		"earlier":                {now: listing{version: 29, records: before}},
		"no number":              {now: listing{records: before}, want: true},
		"older Node":             {now: listing{version: 40, records: recordsOf(at("n1", "u1", 9), at("n2", "u2", 20))}},
		"older last one":         {now: listing{version: 40, records: recordsOf(at("n2", "u2", 19))}},
		"all Nodes are others":   {now: listing{version: 40, records: recordsOf(at("n1", "x", 35), at("n2", "y", 36))}},
		"a Node is another one":  {now: listing{version: 40, records: recordsOf(at("n1", "x", 5), at("n2", "u2", 20))}, want: true},
		"all have left the list": {now: listing{version: 40}, partial: true, want: true},
	} {
		h := history{all: !row.partial}
		h.listed(listing{version: 30, records: before})
		if got := h.recalls(before, row.now); got != row.want {
			t.Errorf("%s: recalls = %v; want %v", name, got, row.want)
		}
	}
	if alone := recordsOf(at("n1", "u1", 10)); !(&history{all: true}).recalls(alone, listing{version: 40}) {
		t.Error("the only Node was deleted, and that is another history")
	}
}

// TestJudge: what ends a watch that has lasted is no fault, nor is it that the
// server has forgotten where we were.
func TestJudge(t *testing.T) {
	t.Parallel()
	expired, refused := &refusal{code: 410}, &refusal{code: 503, after: 7 * time.Second}
	for name, row := range map[string]struct {
		err    error
		lasted bool
		fresh  bool // the turn began with a list
		fault  bool
		relist bool
		after  time.Duration
	}{
		"broken at once":        {err: io.ErrUnexpectedEOF, fault: true},
		"broken after long":     {err: io.ErrUnexpectedEOF, lasted: true},
		"ended at once":         {fault: true},
		"ended after long":      {lasted: true},
		"forgotten":             {err: expired, relist: true},
		"forgotten just listed": {err: expired, fresh: true, fault: true, relist: true},
		"refused":               {err: refused, fault: true, after: refused.after},
		"refused after long":    {err: refused, lasted: true, fault: true, after: refused.after},
		"refused and more":      {err: errors.Join(errRewound, refused), fault: true, after: refused.after},
	} {
		faults := 0
		f := feed{next: 5, fresh: row.fresh, fail: func(error) { faults++ }, client: &client{base: &url.URL{}}}
		if row.lasted {
			f.watching = time.Now()
		}
		after := f.judge(row.err)
		f.judge(row.err) // tells nothing new
		if (faults == 1) != row.fault || faults > 1 || (f.next == 0) != row.relist || after != row.after {
			t.Errorf("%s: %d faults, lists anew %v, waits %v; want %v, %v, %v", name, faults, f.next == 0, after, row.fault, row.relist, row.after)
		}
	}
}
