// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/etcd/etcdtest"
	"github.com/percale-net/percale/subnet/storetest"
)

// TestAddressChanged: the connection's own address is deleted, and another one
// added. With a connection that waits for its end, Publish would take 5 s.
func TestAddressChanged(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	here, there := netns.Temp(t), netns.Temp(t)
	ip := func(ns netns.NS, args ...string) {
		t.Helper()
		if _, err := ns.Output("ip", args...); err != nil {
			t.Fatal(err)
		}
	}
	ip(here, "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", there.Name())
	ip(there, "addr", "add", "192.0.2.1/24", "dev", "up0")
	ip(there, "link", "set", "up0", "up")
	ip(here, "addr", "add", "192.0.2.2/24", "dev", "up0")
	ip(here, "link", "set", "up0", "up")
	s := storeAcross(t, server, here, there)
	own := storetest.Lease("n1", 1)
	publish(t, s, own)
	w := storetest.StartWatch(t, s)
	w.AwaitLeases(t, own)

	ip(here, "addr", "del", "192.0.2.2/24", "dev", "up0")
	ip(here, "addr", "add", "192.0.2.3/24", "dev", "up0")
	s.Reconnect()
	own.V4.Uplink = storetest.Lease("", 9).V4.Uplink
	soon, cancel := context.WithTimeout(t.Context(), requestLimit-2*time.Second)
	defer cancel()
	if _, err := s.Publish(soon, own); err != nil {
		t.Errorf("Publish from the new address: %v", err)
	}
	w.AwaitLeases(t, own)
	if faults := w.Faults(); len(faults) > 0 {
		t.Errorf("the watch tells %v; want nothing", faults)
	}
}

// storeAcross opens a store that lives in one namespace, and reaches the server
// by an address of another one.
func storeAcross(t *testing.T, server *etcdtest.Server, here, there netns.NS) *Store {
	t.Helper()
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	err = there.Do(func() (err error) {
		l, err = net.Listen("tcp", "192.0.2.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Endpoints: []string{newProxyOn(t, l, u.Host).endpoint()}})
	s.client.DialOptions = append(s.client.DialOptions, grpc.WithContextDialer(func(ctx context.Context, addr string) (c net.Conn, err error) {
		err = here.Do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
			return err
		})
		return c, err
	}))
	return s
}

// TestReconnectUnderWay: what waits for an answer that never comes is asked
// again, through the new connection.
func TestReconnectUnderWay(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"", "s3cret"} {
		server := etcdtest.Start(t, etcdtest.Options{Password: password})
		u, err := url.Parse(server.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		p := newProxy(t, u.Host)
		cfg := Config{Endpoints: []string{p.endpoint()}}
		if password != "" {
			cfg.Username, cfg.Password = "root", Secret(password)
		}
		s := open(t, cfg)
		for i := range byte(3) { // at first, not even dialled
			swallowed, done := p.dam(), make(chan error, 1)
			go func() {
				_, err := s.Publish(t.Context(), storetest.Lease("n1", i+1))
				done <- err
			}()
			<-swallowed
			p.undam()
			s.Reconnect()
			if err := <-done; err != nil {
				t.Errorf("Publish under way at Reconnect, password %q: %v", password, err)
			}
		}
	}
}

// TestReconnectAtWill: as often as it may come, no snapshot and no lease is
// lost, and nothing is told as a fault.
func TestReconnectAtWill(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Endpoints: []string{etcdtest.Start(t, etcdtest.Options{}).Endpoint}})
	w := storetest.StartWatch(t, s)
	var want []subnet.Lease
	var wg sync.WaitGroup
	for i := range byte(20) {
		l := storetest.Lease("n1", i+1)
		want = append(want, l)
		wg.Go(func() {
			if _, err := s.Publish(t.Context(), l); err != nil {
				t.Error(err)
			}
		})
		wg.Go(s.Reconnect)
	}
	wg.Wait()
	w.AwaitLeases(t, want...)
	if faults := w.Faults(); len(faults) > 0 {
		t.Errorf("the watch tells %v; want nothing", faults)
	}
}

// TestReconnectNowhere: where the new connection cannot be made either, that is
// told; and a closed store stays closed.
func TestReconnectNowhere(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t, etcdtest.Options{})
	s := open(t, Config{Endpoints: []string{server.Endpoint}})
	w := storetest.StartWatch(t, s)
	w.AwaitLeases(t)
	server.Stop()
	s.Reconnect()
	w.AwaitFault(t, false)
	server.Restart(t)
	s.Reconnect()
	w.AwaitFault(t, true)

	closed := open(t, Config{Endpoints: []string{server.Endpoint}})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	closed.Reconnect()
	if _, err := closed.Publish(t.Context(), storetest.Lease("n1", 1)); err == nil {
		t.Error("Publish of a closed store succeeded after Reconnect")
	}
}
