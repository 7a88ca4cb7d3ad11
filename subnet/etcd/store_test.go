// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/etcd/etcdtest"
	"github.com/percale-net/percale/subnet/storetest"
)

// A bench is one server that the tests of this file share, each with a prefix
// of its own.
type bench struct {
	server *etcdtest.Server
	client *clientv3.Client
}

func TestStore(t *testing.T) {
	server := etcdtest.Start(t, etcdtest.Options{})
	b := bench{server, server.Client(t)}
	t.Run("suite", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T) subnet.Store { return b.open(t) })
	})
	for name, test := range map[string]func(*testing.T, bench){
		"wire":                    testWire,
		"net-conf":                testNetConf,
		"flannel taken over":      testFlannelTakenOver,
		"reservation":             testReservation,
		"reservation of another":  testReservationOfAnother,
		"renewal":                 testRenewal,
		"etcd lease gone":         testEtcdLeaseGone,
		"no orphans":              testNoOrphans,
		"refused alone":           testRefusedAlone,
		"IPv6 only":               testIPv6Only,
		"burst":                   testBurst,
		"pages":                   testPages,
		"neighbour prefix":        testNeighbourPrefix,
		"older rival":             testOlderRival,
		"own key with a rival":    testOwnKeyWithRival,
		"unreadable key is taken": testUnreadable,
		"name clash":              testNameClash,
		"emptied":                 testEmptied,
		"name clash at once":      testNameClashAtOnce,
		"no name clash":           testNoNameClash,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

func (b bench) open(t *testing.T) *Store {
	t.Helper()
	return open(t, Config{Endpoints: []string{b.server.Endpoint}, Prefix: prefixOf(t)})
}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func prefixOf(t *testing.T) string { return "/" + strings.ReplaceAll(t.Name(), " ", "_") }

func (b bench) put(t *testing.T, key, val string, options ...clientv3.OpOption) {
	t.Helper()
	if _, err := b.client.Put(t.Context(), prefixOf(t)+"/"+key, val, options...); err != nil {
		t.Fatal(err)
	}
}

// read returns the only key below the test's subnets.
func (b bench) read(t *testing.T) (key, val string, lease clientv3.LeaseID) {
	t.Helper()
	resp, err := b.client.Get(t.Context(), prefixOf(t)+"/subnets/", clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("keys = %v, %v; want one", resp, err)
	}
	kv := resp.Kvs[0]
	return strings.TrimPrefix(string(kv.Key), prefixOf(t)+"/"), string(kv.Value), clientv3.LeaseID(kv.Lease)
}

func (b bench) grant(t *testing.T, ttl time.Duration) clientv3.LeaseID {
	t.Helper()
	resp, err := b.client.Grant(t.Context(), int64(ttl/time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

func publish(t *testing.T, s *Store, l subnet.Lease) time.Time {
	t.Helper()
	expires, err := s.Publish(t.Context(), l)
	if err != nil {
		t.Fatalf("Publish(%v): %v", l, err)
	}
	return expires
}

func testWire(t *testing.T, b bench) {
	s := b.open(t)
	expires := publish(t, s, storetest.Dual("n3", 17))
	key, val, id := b.read(t)
	const data = `{"VNI":1,"VtepMAC":"02:00:00:00:00:11"}`
	want := `{"PublicIP":"192.168.0.17","PublicIPv6":"fd00::11","BackendType":"vxlan","BackendData":` + data + `,"BackendV6Data":` + data + `,"Node":"n3"}`
	if key != "subnets/10.3.17.0-24&fc00:0:0:11::-64" || val != want {
		t.Errorf("etcd holds %s = %s; want %s", key, val, want)
	}
	ttl, err := b.client.TimeToLive(t.Context(), id)
	if err != nil || ttl.GrantedTTL != 24*60*60 {
		t.Errorf("time to live = %+v, %v; want 24 hours", ttl, err)
	}
	if d := time.Until(expires); d <= 23*time.Hour || d > 24*time.Hour {
		t.Errorf("expires in %v; want 24h", d)
	}
}

func testNetConf(t *testing.T, b bench) {
	s := b.open(t)
	_, err := s.NetConf(t.Context())
	want := "etcdctl --endpoints=" + b.server.Endpoint + " put " + prefixOf(t) + "/config '{"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("NetConf without a key = %v; want an error with %q", err, want)
	}
	b.put(t, "config", `{"Network":"10.3.0.0/16"}`)
	if got, err := s.NetConf(t.Context()); err != nil || string(got) != `{"Network":"10.3.0.0/16"}` {
		t.Errorf("NetConf = %q, %v", got, err)
	}
}

func testFlannelTakenOver(t *testing.T, b bench) {
	s, own := b.open(t), storetest.Lease("n1", 1)
	id := b.grant(t, time.Hour)
	b.put(t, "subnets/10.3.1.0-24", `{"PublicIP":"192.168.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"26:1b:5e:7a:01:02"}}`, clientv3.WithLease(id))
	if expires := publish(t, s, own); time.Until(expires) > time.Hour {
		t.Errorf("expires at %v; want what the kept etcd lease gives, an hour", expires)
	}
	if _, val, got := b.read(t); got != id || !strings.Contains(val, `"Node":"n1"`) {
		t.Errorf("etcd holds %s with etcd lease %x; want our node and lease %x kept", val, got, id)
	}
}

func testReservation(t *testing.T, b bench) {
	s, own := b.open(t), storetest.Lease("n1", 1)
	b.put(t, "subnets/10.3.1.0-24", `{"PublicIP":"192.168.0.1"}`)
	w := storetest.StartWatch(t, s)
	w.Await(t, "the reservation", func(s subnet.Snapshot) bool { return len(s.Leases) == 1 && s.Leases[0].Reserved() })
	for _, uplink := range []byte{1, 1, 2} { // taken, repeated, changed
		own.V4.Uplink = storetest.Lease("", uplink).V4.Uplink
		if expires := publish(t, s, own); !expires.IsZero() {
			t.Errorf("expires at %v; want never", expires)
		}
		if _, val, id := b.read(t); id != clientv3.NoLease || !strings.Contains(val, `"Node":"n1"`) {
			t.Errorf("etcd holds %s with etcd lease %x; want our node and none", val, id)
		}
	}
	w.AwaitLeases(t, own)
}

func testReservationOfAnother(t *testing.T, b bench) {
	s := b.open(t)
	const reservation = `{"PublicIP":"192.168.0.9"}`
	b.put(t, "subnets/10.3.1.0-24", reservation)
	_, err := s.Publish(t.Context(), storetest.Lease("n1", 1))
	if !errors.Is(err, subnet.ErrTaken) || !strings.Contains(err.Error(), "192.168.0.9") {
		t.Errorf("Publish = %v; want ErrTaken that names 192.168.0.9", err)
	}
	if err := s.Release(t.Context(), storetest.Lease("n1", 1)); err != nil {
		t.Error(err)
	}
	if _, val, _ := b.read(t); val != reservation {
		t.Errorf("etcd holds %s; want %s untouched", val, reservation)
	}
}

// testRenewal: to renew writes nothing, and makes the etcd lease whole again.
func testRenewal(t *testing.T, b bench) {
	s, own := b.open(t), storetest.Lease("n1", 1)
	publish(t, s, own)
	_, _, id := b.read(t)
	before, err := b.client.Get(t.Context(), prefixOf(t)+"/subnets/10.3.1.0-24")
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Until(publish(t, s, own)); d <= 23*time.Hour {
		t.Errorf("renewed lease expires in %v; want 24h", d)
	}
	after, err := b.client.Get(t.Context(), prefixOf(t)+"/subnets/10.3.1.0-24")
	if err != nil || after.Kvs[0].ModRevision != before.Kvs[0].ModRevision || clientv3.LeaseID(after.Kvs[0].Lease) != id {
		t.Errorf("renewal changed the key from %v to %v, %v; want nothing written", before.Kvs, after.Kvs, err)
	}
	own.V4.Data = `{"VNI":2}`
	publish(t, s, own)
	if _, _, got := b.read(t); got != id {
		t.Errorf("a change moved the key from etcd lease %x to %x; want it kept", id, got)
	}
}

func testEtcdLeaseGone(t *testing.T, b bench) {
	s, own := b.open(t), storetest.Lease("n1", 1)
	publish(t, s, own)
	w := storetest.StartWatch(t, s)
	w.AwaitLeases(t, own)
	_, _, id := b.read(t)
	if _, err := b.client.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.AwaitLeases(t)
	publish(t, s, own)
	w.AwaitLeases(t, own)
	if _, _, again := b.read(t); again == id || again == clientv3.NoLease {
		t.Errorf("etcd lease = %x after %x; want a new one", again, id)
	}
}
