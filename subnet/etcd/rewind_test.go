// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/etcd/etcdtest"
	"github.com/percale-net/percale/subnet/storetest"
)

// A past is an etcd with a saved past, which is older in all: a lease that was
// changed since, one that was released and one that was added.
type past struct {
	server          *etcdtest.Server
	before, now     []subnet.Lease
	changed, wasBut subnet.Lease // now, and before
}

func newPast(t *testing.T) *past {
	server := etcdtest.Start(t, etcdtest.Options{})
	s := open(t, Config{Endpoints: []string{server.Endpoint}})
	p := &past{server: server, wasBut: storetest.Lease("n1", 1)}
	p.changed = p.wasBut
	p.changed.V4.Data = `{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}`
	p.before = []subnet.Lease{p.wasBut, storetest.Lease("n2", 2)}
	p.now = []subnet.Lease{p.changed, storetest.Lease("n3", 3)}
	for _, l := range p.before {
		publish(t, s, l)
	}
	server.Save(t)
	s.Reconnect()
	if err := s.Release(t.Context(), p.before[1]); err != nil {
		t.Fatal(err)
	}
	for _, l := range p.now {
		publish(t, s, l)
	}
	return p
}

// writeOn makes etcd's revision higher than any that was seen.
func (p *past) writeOn(t *testing.T) {
	t.Helper()
	client := p.server.Client(t) // of the server that runs now
	for i := range 30 {
		if _, err := client.Put(t.Context(), "elsewhere", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWatchRewound: whatever another history looks like, it is told at once and
// as such, and what happens in it is told as well.
func TestWatchRewound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		quick bool // the client's connection is broken, but none is ever refused
		swap  func(t *testing.T, p *past)
		want  func(p *past) []subnet.Lease
	}{
		"restored":          {swap: restore, want: restored},
		"restored quickly":  {quick: true, swap: restore, want: restored},
		"restored, went on": {quick: true, swap: restoreAndGoOn, want: restored},
		"replaced":          {swap: replace, want: nothing},
		"replaced quickly":  {quick: true, swap: replace, want: nothing},
		"replaced alike":    {quick: true, swap: replaceAlike, want: nothing},
		"replaced, went on": {quick: true, swap: replaceAndGoOn, want: nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			u, err := url.Parse(p.server.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			way := newProxy(t, u.Host)
			endpoint := p.server.Endpoint
			if test.quick {
				endpoint = way.endpoint()
			}
			w := storetest.StartWatch(t, open(t, Config{Endpoints: []string{endpoint}}))
			w.AwaitLeases(t, p.now...)
			p.now[1].V4.Data = "{}" // so that the watch is known to be through
			publish(t, open(t, Config{Endpoints: []string{p.server.Endpoint}}), p.now[1])
			w.AwaitLeases(t, p.now...)
			way.hold()
			p.server.Stop()
			if !test.quick {
				w.AwaitFault(t, false)
			}
			test.swap(t, p)
			way.resume()
			got := w.Await(t, "another history", func(s subnet.Snapshot) bool { return s.Rewound })
			if !slices.Equal(got.Leases, test.want(p)) || got.OwnLost {
				t.Errorf("told %+v; want %v", got, test.want(p))
			}
			more := append(test.want(p), storetest.Lease("n9", 9))
			publish(t, open(t, Config{Endpoints: []string{p.server.Endpoint}}), more[len(more)-1])
			w.AwaitLeases(t, more...)
			all := w.Snapshots()
			if n := len(all); n != 4 || all[0].Rewound || all[1].Rewound || all[3].Rewound {
				t.Errorf("told %+v; want four snapshots, the third one rewound", all)
			}
		})
	}
}

func restored(p *past) []subnet.Lease { return slices.Clone(p.before) }

func nothing(*past) []subnet.Lease { return nil }

func restore(t *testing.T, p *past) {
	p.server.Restore(t)
	p.server.Restart(t)
}

func restoreAndGoOn(t *testing.T, p *past) {
	restore(t, p)
	p.writeOn(t)
}

func replace(t *testing.T, p *past) {
	p.server.Wipe(t, 1)
	p.server.Restart(t)
}

func replaceAndGoOn(t *testing.T, p *past) {
	replace(t, p)
	p.writeOn(t)
}

// replaceAlike makes a new etcd as the same command would.
func replaceAlike(t *testing.T, p *past) {
	p.server.Wipe(t, 0)
	p.server.Restart(t)
	p.writeOn(t)
}

// TestWatchResumed: where the history is the same after a break, it is not read
// anew, nothing is missed, and nothing is told as rewound.
func TestWatchResumed(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	u, err := url.Parse(p.server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	way := newProxy(t, u.Host)
	s := open(t, Config{Endpoints: []string{way.endpoint()}})
	var lists atomic.Int32
	s.client.DialOptions = append(s.client.DialOptions, grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if r, ok := req.(*pb.RangeRequest); ok && r.Limit == pageKeys {
				lists.Add(1)
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}))
	w := storetest.StartWatch(t, s)
	w.AwaitLeases(t, p.now...)
	direct := open(t, Config{Endpoints: []string{p.server.Endpoint}})
	for i := range byte(3) {
		way.hold()
		publish(t, direct, p.wasBut)
		publish(t, direct, p.changed)
		added := storetest.Lease("more", 10+i)
		publish(t, direct, added)
		p.now = append(p.now, added)
		way.resume()
		w.AwaitLeases(t, p.now...)
	}
	if n := lists.Load(); n != 1 {
		t.Errorf("%d lists; want 1", n)
	}
	for _, s := range w.Snapshots() {
		if s.Rewound || s.OwnLost {
			t.Errorf("told %+v; want it neither rewound nor lost", s)
		}
	}
}
