// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
	"github.com/percale-net/percale/subnet/storetest"
)

func TestAssign(t *testing.T) {
	t.Parallel()
	four, six := netip.MustParsePrefix("10.3.7.0/24"), netip.MustParsePrefix("fc00:0:0:7::/64")
	bare := nodes.Own{Exists: true}
	given := func(cidrs ...string) nodes.Own {
		return nodes.Own{Exists: true, Node: nodes.Node{Whole: true, PodCIDRs: cidrs}}
	}
	kept := nodes.Own{Exists: true, Node: nodes.Node{Annotations: map[string]string{keySource: sourceKept}}}
	leased := nodes.Own{Exists: true, Node: nodes.Node{Annotations: map[string]string{keySource: sourceLease}}}
	for name, c := range map[string]struct {
		s     situation
		want  subnet.Assigned
		wait  string // in why it is pending
		again time.Duration
	}{
		"IPv4":             {s: situation{own: given("10.3.7.0/24")}, want: subnet.Assigned{V4: four}},
		"both, in order":   {s: situation{own: given("fc00:0:0:7::/64", "10.3.7.0/24")}, want: subnet.Assigned{V4: four, V6: six}},
		"host bits":        {s: situation{own: given("10.3.7.5/24")}, want: subnet.Assigned{V4: four}},
		"first of family":  {s: situation{own: given("10.3.7.0/24", "10.3.8.0/24")}, want: subnet.Assigned{V4: four}},
		"rubbish is none":  {s: situation{own: given("x"), waited: grace}},
		"whatever else is": {s: situation{own: given("10.3.7.0/24"), custom: custom{lease: "n2"}, waited: grace}, want: subnet.Assigned{V4: four}},

		"no Node":                  {s: situation{waited: time.Hour, custom: custom{lease: "n2"}}, wait: "no Node n7"},
		"just come":                {s: situation{own: bare}, wait: "30s", again: grace},
		"still waiting":            {s: situation{own: bare, waited: 20 * time.Second}, wait: "30s", again: 10 * time.Second},
		"long enough":              {s: situation{own: bare, waited: grace}},
		"the others lease":         {s: situation{own: bare, custom: custom{lease: "n2"}}},
		"the others are given":     {s: situation{own: bare, custom: custom{cluster: "n2"}, waited: time.Hour}, wait: "Node n2"},
		"some are, some lease":     {s: situation{own: bare, custom: custom{cluster: "n2", lease: "n3"}, waited: time.Hour}, wait: "Node n2"},
		"had one before":           {s: situation{own: bare, assigned: true, custom: custom{lease: "n3"}, waited: time.Hour}, wait: "had one before"},
		"has leased before":        {s: situation{own: leased}},
		"has kept what it had":     {s: situation{own: kept, custom: custom{cluster: "n2"}}, wait: "Node n2"},
		"has leased, others given": {s: situation{own: leased, custom: custom{cluster: "n2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.s.node = "n7"
			got, again := c.s.assign()
			if c.wait != "" && !strings.Contains(got.Pending, c.wait) || c.wait == "" && got.Pending != "" {
				t.Errorf("pending: %q; want %q in it", got.Pending, c.wait)
			}
			got.Pending = ""
			if got != c.want || again != c.again {
				t.Errorf("assign = %+v, again in %v; want %+v, %v", got, again, c.want, c.again)
			}
		})
	}
}

func TestCustomOf(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	node := func(name, source string) nodes.Node {
		return nodes.Node{Name: name, Annotations: k.encode(storetest.Lease(name, 7), source)}
	}
	flannels := nodes.Node{Name: "n4", Annotations: theirs(), Whole: true, PodCIDRs: []string{"10.3.4.0/24"}}
	stranger := nodes.Node{Name: "n0", Whole: true, PodCIDRs: []string{"10.3.4.0/24"}} // takes no part
	for _, c := range []struct {
		nodes []nodes.Node
		want  custom
	}{
		{nil, custom{}},
		{[]nodes.Node{stranger}, custom{}},
		{[]nodes.Node{node("n7", sourceCluster)}, custom{}}, // ourselves
		{[]nodes.Node{node("n3", sourceLease), node("n2", sourceLease), node("n5", sourceLease)}, custom{lease: "n2"}},
		{[]nodes.Node{node("n3", sourceCluster), node("n2", sourceLease)}, custom{cluster: "n3", lease: "n2"}},
		{[]nodes.Node{flannels, node("n2", sourceLease)}, custom{cluster: "n4", lease: "n2"}},
	} {
		all := make(map[string]nodes.Node)
		for _, n := range c.nodes {
			all[n.Name] = n
		}
		if got := k.customOf(all, "n7", nil); got != c.want {
			t.Errorf("customOf(%v) = %+v; want %+v", c.nodes, got, c.want)
		}
	}
	three, four := node("n3", sourceCluster), node("n4", sourceCluster)
	three.UID, four.UID = "3", "4"
	all := map[string]nodes.Node{"n3": three, "n4": four}
	for _, c := range []struct {
		bare map[string]string
		want string
	}{
		{map[string]string{"n3": "3"}, "n4"},
		{map[string]string{"n3": "another"}, "n3"},
		{map[string]string{"n3": "3", "n4": "4"}, ""},
	} {
		if got := k.customOf(all, "n7", c.bare); got != (custom{cluster: c.want}) {
			t.Errorf("customOf without %v = %+v; want %q", c.bare, got, c.want)
		}
	}
}

func TestPublicity(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	v4, v6, refused := k.publicity(nodes.Node{Name: "n7", Annotations: map[string]string{
		flannel + "public-ip-overwrite": "203.0.113.7", flannel + "node-public-ip": "198.51.100.7",
		flannel + "public-ipv6-overwrite": "2001:db8::7", flannel + "node-public-ipv6": "here",
	}})
	want4 := subnet.Publicity{Public: netip.MustParseAddr("198.51.100.7"), Overwrite: netip.MustParseAddr("203.0.113.7")}
	want6 := subnet.Publicity{Overwrite: netip.MustParseAddr("2001:db8::7")}
	if v4 != want4 || v6 != want6 {
		t.Errorf("publicity = %v, %v; want %v, %v", v4, v6, want4, want6)
	}
	wantRefused(t, refused, flannel+"node-public-ipv6")
}

// Our own annotations are amiss where they say the same lease, but not all that
// Publish writes.
func TestDecodeOwn(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	l := storetest.Lease("n7", 7)
	cidrs := []string{"10.3.7.0/24"}
	for name, c := range map[string]struct {
		annotations map[string]string
		cidrs       []string
		pending     bool
		want        subnet.Lease
		amiss       bool
	}{
		"as published":         {k.encode(l, sourceCluster), cidrs, false, l, false},
		"leased":               {k.encode(l, sourceLease), nil, false, l, false},
		"kept":                 {k.encode(l, sourceKept), nil, true, l, false},
		"kept for long enough": {k.encode(l, sourceKept), nil, false, l, true},
		"flannel's":            {theirs(), cidrs, false, l, true},
		"lost the source":      {theirs(keySubnets, "10.3.7.0/24"), cidrs, false, l, true},
		"leased, now assigned": {k.encode(l, sourceLease), cidrs, false, l, true},
		"pods live elsewhere":  {k.encode(l, sourceLease), []string{"10.3.9.0/24"}, false, l, false},
		"more than was said":   {both(keySubnets, "10.3.7.0/24", keySource, sourceCluster), cidrs, false, l, true},
		"nothing":              {nil, cidrs, false, subnet.Lease{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, amiss, refused := k.decodeOwn(nodes.Node{Name: "n7", Annotations: c.annotations, PodCIDRs: c.cidrs, Whole: true}, c.pending)
			if got != c.want || amiss != c.amiss || refused != nil {
				t.Errorf("decodeOwn = %+v, amiss %t, refused %v; want %+v, %t", got, amiss, refused, c.want, c.amiss)
			}
		})
	}
}

// TestReservations: what the Lease objects add to what Nodes publish.
func TestReservations(t *testing.T) {
	t.Parallel()
	s := &Store{cfg: Config{Node: "n7"}}
	held := func(node string, subnets ...string) (all []claim) {
		for _, text := range subnets {
			all = append(all, claim{Metadata: claimMetadata{Name: claimName(netip.MustParsePrefix(text))}, Spec: claimSpec{Holder: node}})
		}
		return all
	}
	all := slices.Concat(
		held("n2", "10.3.2.0/24"), held("n3", "10.3.3.0/24", "fc00:0:0:3::/64"),
		held("n7", "10.3.7.0/24", "fc00:0:0:7::/64"), held("", "10.3.4.0/24"),
		[]claim{{Metadata: claimMetadata{Name: "../x"}, Spec: claimSpec{Holder: "n5"}}})
	peers := []subnet.Lease{storetest.Lease("n2", 2)} // who publishes is no reservation
	got := s.reservations(all, peers, subnet.Lease{})
	ours := subnet.Lease{Node: "n7",
		V4: subnet.Endpoint{Subnet: netip.MustParsePrefix("10.3.7.0/24")}, V6: subnet.Endpoint{Subnet: netip.MustParsePrefix("fc00:0:0:7::/64")}}
	want := []subnet.Lease{
		{V4: subnet.Endpoint{Subnet: netip.MustParsePrefix("10.3.3.0/24")}},
		{V6: subnet.Endpoint{Subnet: netip.MustParsePrefix("fc00:0:0:3::/64")}},
		{V4: subnet.Endpoint{Subnet: netip.MustParsePrefix("10.3.4.0/24")}},
		ours,
	}
	if !slices.Equal(got, want) {
		t.Errorf("reservations = %+v\nwant %+v", got, want)
	}
	if got := s.reservations(all, peers, storetest.Lease("n7", 7)); !slices.Equal(got, want[:3]) {
		t.Errorf("reservations beside our own lease = %+v\nwant %+v", got, want[:3])
	}
}

// Whoever claims a subnet, one node gets it, the others are named, and our own
// is ours.
func TestManyClaimants(t *testing.T) {
	t.Parallel()
	const nodesCount = 10_000
	s := &Store{cfg: Config{Node: "n7"}, keys: usualKeys(t)}
	all := nodes.Snapshot{Nodes: make(map[string]nodes.Node), Omitted: 3}
	for i := range nodesCount {
		l := storetest.Lease(fmt.Sprintf("w%05d", i), 9)
		if i%2 == 0 {
			l.V4.Subnet = netip.MustParsePrefix("10.3.7.0/24")
		}
		l.V4.Uplink = netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)})
		all.Nodes[l.Node] = nodes.Node{Name: l.Node, Annotations: s.keys.encode(l, sourceCluster)}
	}
	r := s.read(&all, nil)
	if len(r.leases) != nodesCount || len(r.refused) != 1 || !strings.Contains(r.refused[0].Lease, "3") {
		t.Fatalf("%d leases, refused %v; want all, and a word on those that were left out", len(r.leases), r.refused)
	}
	pool := subnet.Pool{Network: netip.MustParsePrefix("10.3.0.0/16"), Len: 24,
		Min: netip.MustParseAddr("10.3.1.0"), Max: netip.MustParseAddr("10.3.255.0")}
	claim := subnet.ClaimOf(storetest.Lease("n7", 7))
	claim.Pools.V4, claim.Assigned.V4 = pool, claim.V4.Subnet
	own, _, err := subnet.Choose(claim, r.leases, func(int) int { return 0 })
	if err != nil || own.V4.Subnet != claim.Assigned.V4 {
		t.Errorf("Choose = %v, %v; want what the cluster assigned", own, err)
	}
	peers, refused := subnet.Screen(claim.Pools, own, r.leases)
	if len(peers) != 1 || len(refused) != nodesCount-1 {
		t.Errorf("%d peers, %d refused; want 1 and all others", len(peers), len(refused))
	}
}
