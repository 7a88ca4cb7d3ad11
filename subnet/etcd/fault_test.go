// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/etcd/etcdtest"
	"github.com/percale-net/percale/subnet/storetest"
)

// TestWatchCompacted: what happened while the way to etcd was cut is known
// after, although etcd has forgotten the steps: new, changed and deleted keys.
func TestWatchCompacted(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	direct := open(t, Config{Endpoints: []string{server.Endpoint}})
	gone, changed, added := storetest.Lease("n1", 1), storetest.Lease("n2", 2), storetest.Lease("n3", 3)
	publish(t, direct, gone)
	publish(t, direct, changed)

	w := storetest.StartWatch(t, open(t, Config{Endpoints: []string{p.endpoint()}}))
	w.AwaitLeases(t, gone, changed)
	changed.V4.Data = `{"VNI":9}`
	publish(t, direct, changed) // so that not only the list is known to be through
	w.AwaitLeases(t, gone, changed)
	p.hold()
	if err := direct.Release(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	changed.V4.Data = `{"VNI":2}`
	publish(t, direct, changed)
	publish(t, direct, added)
	client := server.Client(t)
	now, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	p.resume()
	w.AwaitLeases(t, changed, added)
	w.AwaitFault(t, true)
	if err := errors.Join(w.Faults()...); !strings.Contains(err.Error(), "compacted") && !strings.Contains(err.Error(), "no connection") {
		t.Errorf("faults = %v; want what ended the watch", err)
	}
	for _, s := range w.Snapshots() {
		if len(s.Leases) != 2 {
			t.Errorf("snapshot %v; want each whole", s)
		}
	}
}

// TestServerRestarted: the store tells of the loss, keeps what it knows, and
// goes on by itself.
func TestServerRestarted(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	s, own := open(t, Config{Endpoints: []string{server.Endpoint}}), storetest.Lease("n1", 1)
	publish(t, s, own)
	w := storetest.StartWatch(t, s)
	w.AwaitLeases(t, own)

	server.Stop()
	if err := w.AwaitFault(t, false); !strings.Contains(err.Error(), server.Endpoint) {
		t.Errorf("fault %q does not name %s", err, server.Endpoint)
	}
	if _, err := s.Publish(t.Context(), own); err == nil || errors.Is(err, subnet.ErrTaken) || !strings.Contains(err.Error(), server.Endpoint) {
		t.Errorf("Publish without etcd = %v; want an error that names %s", err, server.Endpoint)
	}
	server.Restart(t)
	w.AwaitFault(t, true)
	publish(t, s, own)
	publish(t, s, storetest.Lease("n2", 2))
	w.AwaitLeases(t, own, storetest.Lease("n2", 2))
	for _, s := range w.Snapshots() {
		if len(s.Leases) == 0 {
			t.Error("a snapshot is empty; want nothing told that is not known")
		}
	}
}

// TestFaultsTold: of two servers that are both away now this one, now that one
// is tried last. It is one fault, told once. Another one is told, too.
func TestFaultsTold(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Endpoints: []string{"http://127.0.0.1:4", "http://127.0.0.2:3"}})
	var told []string
	w := watch{store: s, fail: func(err error) { told = append(told, fmt.Sprint(err)) }}
	w.well() // was never otherwise
	texts := []string{
		"dial tcp 127.0.0.1:4: connection refused",
		"dial tcp 127.0.0.2:3: connection refused",
		"read tcp 10.0.0.1:50001->127.0.0.1:4: connection reset",
		"read tcp 10.0.0.1:50002->127.0.0.1:4: connection reset",
		"dial tcp 127.0.0.1:4: connection refused",
	}
	for _, text := range texts {
		w.failed(errors.New(text))
	}
	w.well()
	w.well()
	w.failed(errors.New(texts[4]))
	if want := []string{texts[0], texts[2], texts[4], "<nil>", texts[4]}; !slices.Equal(told, want) {
		t.Errorf("fail was told %q; want %q", told, want)
	}
}

// TestNeverReached: an unreachable server makes Open no error and no snapshot.
func TestNeverReached(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "root"} {
		s := open(t, Config{Endpoints: []string{"http://127.0.0.1:1"}, Username: user, Password: Secret(user)})
		w := storetest.StartWatch(t, s)
		if err := w.AwaitFault(t, false); !strings.Contains(err.Error(), "http://127.0.0.1:1") {
			t.Errorf("fault %q does not name the endpoint", err)
		}
		if got := w.Snapshots(); len(got) != 0 {
			t.Errorf("snapshots %v; want none", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Publish(ctx, storetest.Lease("n1", 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("Publish with an ended context = %v; want its error", err)
		}
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	const right, wrong = "right-Zk3hunter2", "wrong-Zk3hunter2"
	server := etcdtest.Start(t, etcdtest.Options{Password: right})
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	try := func(user string, password Secret) error {
		cfg := Config{Endpoints: []string{server.Endpoint}, Username: user, Password: password, Log: logger}
		s := open(t, cfg)
		logger.Info("opened", "config", fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), "password", cfg.Password)
		_, err := s.Publish(t.Context(), storetest.Lease("n1", 1))
		fmt.Fprintln(&log, err)
		return err
	}
	for _, c := range []struct {
		user     string
		password Secret
		says     string
	}{
		{"root", right, ""},
		{"root", wrong, `user "root"`},
		{"nobody", wrong, "--etcd-password"},
		{"", "", "demands a user"},
	} {
		err := try(c.user, c.password)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("Publish as %q = %v; want an error that says %q", c.user, err, c.says)
		}
	}
	client := server.Client(t)
	if _, err := client.UserAdd(t.Context(), "reader", wrong); err != nil {
		t.Fatal(err)
	}
	if err := try("reader", wrong); err == nil || !strings.Contains(err.Error(), "grant-permission") || !strings.Contains(err.Error(), "/coreos.com/network/") {
		t.Errorf("Publish without rights = %v; want an error that says which to grant", err)
	}
	w := storetest.StartWatch(t, open(t, Config{Endpoints: []string{server.Endpoint}, Username: "root", Password: right}))
	w.AwaitLeases(t, storetest.Lease("n1", 1))
	if out := log.String(); strings.Contains(out, "hunter2") || len(out) < 100 {
		t.Errorf("errors and logs hold a password, or are empty:\n%s", out)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{TLS: true})
	own := storetest.Lease("n1", 1)
	publish(t, open(t, Config{Endpoints: []string{server.Endpoint}, CAFile: server.CAFile}), own)

	other := etcdtest.Start(t, etcdtest.Options{TLS: true, ClientCerts: true})
	publish(t, open(t, Config{Endpoints: []string{other.Endpoint}, CAFile: other.CAFile, CertFile: other.CertFile, KeyFile: other.KeyFile}), own)
	for name, cfg := range map[string]Config{
		"another CA":            {CAFile: server.CAFile},
		"the system's roots":    {},
		"no client certificate": {CAFile: other.CAFile},
	} {
		cfg.Endpoints = []string{other.Endpoint}
		if _, err := open(t, cfg).Publish(t.Context(), own); err == nil || !strings.Contains(err.Error(), other.Endpoint) {
			t.Errorf("%s: Publish = %v; want an error that names %s", name, err, other.Endpoint)
		}
	}
	for _, c := range []struct {
		cfg  Config
		says []string
	}{
		{Config{CAFile: "/absent/ca.pem"}, []string{"--etcd-cafile", "/absent/ca.pem", "mounted"}},
		{Config{CAFile: server.KeyFile}, []string{"--etcd-cafile", server.KeyFile, "no certificate", "not a key"}},
		{Config{CertFile: server.CertFile}, []string{"--etcd-keyfile", "both or none"}},
		{Config{CertFile: "/absent/c.pem", KeyFile: "/absent/k.pem"}, []string{"--etcd-certfile", "/absent/c.pem", "mounted"}},
		{Config{CertFile: server.CertFile, KeyFile: "/absent/k.pem"}, []string{"--etcd-keyfile", "/absent/k.pem", server.CertFile, "mounted"}},
		{Config{CertFile: server.CertFile, KeyFile: other.KeyFile}, []string{"--etcd-certfile " + server.CertFile, "--etcd-keyfile " + other.KeyFile, "its own key"}},
		{Config{Endpoints: []string{"http://u:hunter2@127.0.0.1"}}, []string{"credentials", "--etcd-password"}},
		{Config{Endpoints: []string{"http://u:hunter2@127.0.0.1:x"}}, []string{"no URL"}},
	} {
		if c.cfg.Endpoints == nil {
			c.cfg.Endpoints = []string{server.Endpoint}
		}
		_, err := Open(c.cfg)
		for _, want := range c.says {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Open(%+v) = %v; want an error that says %q", c.cfg, err, want)
			}
		}
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("Open without endpoints succeeded")
	}
}

// TestClosed: what a closed store is asked fails at once.
func TestClosed(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	s := open(t, Config{Endpoints: []string{server.Endpoint}})
	publish(t, s, storetest.Lease("n1", 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NetConf(t.Context()); err == nil {
		t.Error("NetConf of a closed store succeeded")
	}
	if err := s.Watch(t.Context(), func(subnet.Snapshot) {}, func(error) {}); err == nil {
		t.Error("Watch of a closed store ended without an error")
	}
}
