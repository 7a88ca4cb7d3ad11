// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/etcd/etcdtest"
	"github.com/percale-net/percale/subnet/storetest"
)

// testNoOrphans: who does not get a subnet leaves no etcd lease behind.
func testNoOrphans(t *testing.T, _ bench) {
	server := etcdtest.Start(t, etcdtest.Options{}) // alone, to count its leases
	s := open(t, Config{Endpoints: []string{server.Endpoint}})
	publish(t, s, storetest.Dual("n0", 9))
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			l := storetest.Dual(fmt.Sprintf("n%d", i+1), 7)
			if i%2 == 0 {
				l.V6 = storetest.V6("", 9).V6 // seen as taken only after the key is made
			}
			if _, err := s.Publish(t.Context(), l); err != nil && !errors.Is(err, subnet.ErrTaken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	client := server.Client(t)
	leases, err := client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := client.Get(t.Context(), "/coreos.com/network/subnets/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || len(leases.Leases) != len(keys.Kvs) || len(keys.Kvs) == 0 {
		t.Errorf("%d etcd leases for %v, %v; want one for each key", len(leases.Leases), keys.Kvs, err)
	}
}

func testRefusedAlone(t *testing.T, b bench) {
	s, good := b.open(t), storetest.Lease("n1", 1)
	publish(t, s, good)
	b.put(t, "subnets/10.3.2.0-24", `{"PublicIP":`)
	b.put(t, "subnets/10.3.3.7-24", `{"PublicIP":"192.168.0.3"}`)
	b.put(t, "subnets/"+strings.Repeat("x", 3000), "\x00\xff")
	w := storetest.StartWatch(t, s)
	held := subnet.Lease{V4: subnet.Endpoint{Subnet: storetest.Lease("", 2).V4.Subnet}}
	w.AwaitLeases(t, good, held)
	got := w.Await(t, "three refusals", func(s subnet.Snapshot) bool { return len(s.Refused) == 3 })
	for _, r := range got.Refused {
		if r.Lease == "" || r.Reason == "" || len(r.Lease)+len(r.Reason) > 500 {
			t.Errorf("refusal %+v; want a bounded key and reason", r)
		}
	}
	b.put(t, "subnets/10.3.2.0-24", `{"PublicIP":"192.168.0.2"}`) // mended
	if _, err := b.client.Delete(t.Context(), prefixOf(t)+"/subnets/10.3.3.7-24"); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "one refusal", func(s subnet.Snapshot) bool { return len(s.Refused) == 1 && len(s.Leases) == 2 })
}

// testIPv6Only: PublicIP 0.0.0.0 makes no two nodes the same.
func testIPv6Only(t *testing.T, b bench) {
	s := b.open(t)
	b.put(t, "subnets/0.0.0.0-0&fc00:0:0:1::-64", `{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::1","BackendType":"vxlan","BackendV6Data":{}}`)
	second := storetest.V6("n2", 2)
	w := storetest.StartWatch(t, s)
	first := w.Await(t, "the first node", func(s subnet.Snapshot) bool { return len(s.Leases) == 1 }).Leases[0]
	claim := subnet.ClaimOf(second)
	claim.Pools.V6 = subnet.Pool{Network: second.V6.Subnet.Masked(), Len: 64, Min: second.V6.Subnet.Addr(), Max: second.V6.Subnet.Addr()}
	own, release, err := subnet.Choose(claim, []subnet.Lease{first}, func(int) int { return 0 })
	if err != nil || own != second || len(release) > 0 {
		t.Fatalf("Choose = %v, %v, %v; want %v", own, release, err, second)
	}
	publish(t, s, own)
	w.AwaitLeases(t, first, second)
	stolen := second
	stolen.V6.Subnet = first.V6.Subnet
	if _, err := s.Publish(t.Context(), stolen); !errors.Is(err, subnet.ErrTaken) {
		t.Errorf("Publish of the first node's subnet = %v; want ErrTaken", err)
	}
}

// testBurst: changes that come together are passed on together.
func testBurst(t *testing.T, b bench) {
	s := b.open(t)
	w := storetest.StartWatch(t, s)
	w.AwaitLeases(t)
	const n = 100 // per transaction
	var ops []clientv3.Op
	for i := range n {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s/subnets/10.3.%d.0-24", prefixOf(t), i), `{"PublicIP":"192.168.0.1"}`))
	}
	if _, err := b.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	w.Await(t, "the burst", func(s subnet.Snapshot) bool { return len(s.Leases) == n })
	if got := len(w.Snapshots()); got != 2 {
		t.Errorf("%d snapshots; want 2, before and after the burst", got)
	}
}

// testPages: more keys than one request of the list brings.
func testPages(t *testing.T, b bench) {
	const n = 2*pageKeys + 7
	var ops []clientv3.Op
	for i := range n {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s/subnets/10.%d.%d.0-24", prefixOf(t), i>>8, i&255), `{"PublicIP":"192.168.0.1"}`))
		if len(ops) == 128 || i == n-1 {
			if _, err := b.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
			ops = nil
		}
	}
	w := storetest.StartWatch(t, b.open(t))
	w.Await(t, "all keys", func(s subnet.Snapshot) bool { return len(s.Leases) == n })
	if got := len(w.Snapshots()); got != 1 {
		t.Errorf("%d snapshots; want 1, whole at once", got)
	}
}

func testNeighbourPrefix(t *testing.T, b bench) {
	s := b.open(t)
	b.put(t, "subnets-of-others/10.3.9.0-24", `{"PublicIP":"192.168.0.9"}`)
	publish(t, s, storetest.Lease("n1", 1))
	storetest.StartWatch(t, s).AwaitLeases(t, storetest.Lease("n1", 1))
}

// testOlderRival: flannel with another subnet length holds part of what we
// want, under a key that does not begin like ours.
func testOlderRival(t *testing.T, b bench) {
	s := b.open(t)
	b.put(t, "subnets/10.3.0.0-22", `{"PublicIP":"192.168.0.9","BackendType":"vxlan"}`)
	if _, err := s.Publish(t.Context(), storetest.Lease("n1", 1)); !errors.Is(err, subnet.ErrTaken) {
		t.Errorf("Publish = %v; want ErrTaken", err)
	}
	if key, _, _ := b.read(t); key != "subnets/10.3.0.0-22" {
		t.Errorf("etcd holds %s; want the older key alone", key)
	}
}

// testOwnKeyWithRival: a key that somebody adds beside ours does not end our
// lease.
func testOwnKeyWithRival(t *testing.T, b bench) {
	s, own := b.open(t), storetest.Lease("n1", 1)
	publish(t, s, own)
	b.put(t, "subnets/10.3.1.0-25", `{"PublicIP":"192.168.0.9","BackendType":"vxlan"}`)
	publish(t, s, own)
	own.V4.Data = `{"VNI":2}`
	publish(t, s, own)
	storetest.StartWatch(t, s).Await(t, "our lease", func(s subnet.Snapshot) bool { return len(s.Leases) == 2 && s.Leases[0] == own })
}

func testUnreadable(t *testing.T, b bench) {
	s := b.open(t)
	b.put(t, "subnets/10.3.1.0-24", `{`)
	if _, err := s.Publish(t.Context(), storetest.Lease("n1", 1)); !errors.Is(err, subnet.ErrTaken) || !strings.Contains(err.Error(), "10.3.1.0-24") {
		t.Errorf("Publish = %v; want ErrTaken that names the key", err)
	}
}
