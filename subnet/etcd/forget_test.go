// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/etcd/etcdtest"
	"github.com/percale-net/percale/subnet/storetest"
)

// TestPublishRewound: an older value of ours, which another process has
// published then, is no clash of names; a value that somebody writes later is.
func TestPublishRewound(t *testing.T) {
	t.Parallel()
	imported := func(t *testing.T, p *past) { // by hand, into a new etcd
		replaceAlike(t, p)
		key, val, err := encode(p.wasBut)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.server.Client(t).Put(t.Context(), "/coreos.com/network/subnets/"+key, string(val)); err != nil {
			t.Fatal(err)
		}
	}
	for name, swap := range map[string]func(*testing.T, *past){"restored": restore, "restored, went on": restoreAndGoOn, "imported": imported} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			own := p.changed
			own.V4.Uplink = storetest.Lease("", 77).V4.Uplink
			s := open(t, Config{Endpoints: []string{p.server.Endpoint}})
			publish(t, s, own)
			p.server.Stop()
			swap(t, p)
			s.Reconnect()
			publish(t, s, own)
			publish(t, s, own)
			w := storetest.StartWatch(t, s)
			w.Await(t, "our lease", func(s subnet.Snapshot) bool { return slices.Contains(s.Leases, own) })
			publish(t, open(t, Config{Endpoints: []string{p.server.Endpoint}}), p.wasBut)
			if _, err := s.Publish(t.Context(), own); !errors.Is(err, subnet.ErrNameClash) {
				t.Errorf("Publish over another node's value = %v; want ErrNameClash", err)
			}
		})
	}
}

// testEmptied: etcd is emptied, and our lease is back before the watch has told
// of it. That it was away is told.
func testEmptied(t *testing.T, b bench) {
	s, own, peer := b.open(t), storetest.Lease("n1", 1), storetest.Lease("n2", 2)
	publish(t, b.open(t), peer)
	publish(t, s, own)
	told, goOn := make(chan subnet.Snapshot), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(s subnet.Snapshot) {
			told <- s
			<-goOn
		}, func(error) {})
	}()
	if first := <-told; len(first.Leases) != 2 || first.OwnLost {
		t.Errorf("told %+v first; want two leases", first)
	}
	if _, err := b.client.Delete(t.Context(), prefixOf(t)+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	publish(t, s, own)
	close(goOn)
	// It comes in one snapshot or in two.
	next := <-told
	if len(next.Leases) > 0 && !next.OwnLost {
		t.Errorf("told %+v; want that our lease was lost", next)
	}
	if len(next.Leases) == 0 {
		next = <-told
	}
	if !slices.Equal(next.Leases, []subnet.Lease{own}) || next.Rewound {
		t.Errorf("told %+v in the end; want our lease alone", next)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
}

// TestNetConfRewound: a restored network configuration is told of, and so is
// what is written after, at revisions that the former etcd had used.
func TestNetConfRewound(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	put := func(vals ...string) {
		t.Helper()
		for _, val := range vals {
			if _, err := server.Client(t).Put(t.Context(), "/coreos.com/network/config", val); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("old")
	server.Save(t)
	put("1", "2", "3", "4", "5", "new")
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	way := newProxy(t, u.Host)
	s := open(t, Config{Endpoints: []string{way.endpoint()}})
	kicks, done := make(chan struct{}, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- s.WatchNetConf(ctx, func() {
			select {
			case kicks <- struct{}{}:
			default:
			}
		})
	}()
	await := func(want string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for got := ""; got != want; {
			select {
			case <-kicks:
			case err := <-done:
				t.Fatalf("WatchNetConf returned %v", err)
			case <-deadline:
				t.Fatalf("the configuration is %q, as far as was told; want %q", got, want)
			}
			conf, err := s.NetConf(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = string(conf)
		}
	}
	await("new")
	way.hold()
	server.Stop()
	server.Restore(t)
	server.Restart(t)
	way.resume()
	await("old")
	put("newer")
	await("newer")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("WatchNetConf returned %v", err)
	}
}
