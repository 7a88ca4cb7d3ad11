// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
	"github.com/percale-net/percale/subnet/storetest"
)

func TestClashes(t *testing.T) {
	t.Parallel()
	lease := func(node string, subnets ...string) (l subnet.Lease) {
		l.Node = node
		for _, text := range subnets {
			if p := netip.MustParsePrefix(text); p.Addr().Is4() {
				l.V4.Subnet = p
			} else {
				l.V6.Subnet = p
			}
		}
		return l
	}
	all := map[string]nodes.Node{"n0": {Name: "n0"}} // watched itself
	for _, name := range []string{"n1", "n2", "n3", "n4"} {
		all[name] = nodes.Node{Name: name, Record: true}
	}
	for _, c := range []struct {
		leases []subnet.Lease
		want   []string
	}{
		{nil, nil},
		{[]subnet.Lease{lease("n1", "10.3.1.0/24", "fc00::/64"), lease("n2", "10.3.2.0/24", "fc00:1::/64")}, nil},
		{[]subnet.Lease{lease("n1", "10.3.1.0/24"), lease("n0", "10.3.1.0/24")}, []string{"n1"}},
		{[]subnet.Lease{lease("n1", "10.3.1.0/24", "fc00::/64"), lease("n2", "10.3.2.0/24", "fc00::/64")}, []string{"n1", "n2"}},
		{[]subnet.Lease{lease("n1", "10.3.0.0/24"), lease("n2", "10.3.1.0/24"), lease("n4", "10.3.0.0/16"), lease("n3", "10.4.0.0/24")}, []string{"n4", "n1", "n2"}},
	} {
		if got := clashes(all, c.leases); !slices.Equal(got, c.want) {
			t.Errorf("clashes of %v = %v; want %v", c.leases, got, c.want)
		}
	}
}

// A record that takes another node's subnet away, which the Node itself may not
// publish, is found out at once.
func TestRecordTakesSubnet(t *testing.T) {
	s := newScene(t)
	var err error
	s.store, err = Open(Config{Client: s.Admin(), Node: "n7", Look: time.Hour})
	s.must(err)
	s.create("n7", "10.3.7.0/24")
	eight, nine := storetest.Lease("n8", 8), storetest.Lease("n9", 9)
	for _, l := range []subnet.Lease{eight, nine} {
		s.create(l.Node, l.V4.Subnet.String())
		peer, err := Open(Config{Client: s.Admin(), Node: l.Node})
		s.must(err)
		_, err = peer.Publish(t.Context(), l)
		s.must(err)
	}
	s.begin()
	both := func(s subnet.Snapshot) bool { return slices.Equal(s.Leases, []subnet.Lease{eight, nine}) }
	s.await("the peers", both)
	s.merge("Lease", nodes.RecordName("n8"), metadata("annotations", map[string]any{keySubnets: nine.V4.Subnet.String()}))
	s.await("what the record says", func(s subnet.Snapshot) bool {
		return len(s.Leases) == 2 && s.Leases[0].V4.Subnet == nine.V4.Subnet
	})
	s.await("what the Node says", both)
}
