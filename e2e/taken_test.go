// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
)

// TestSubnetIsTakenWhilePodsLive gives a node's subnet to another one. While it
// has pods it keeps what it has and says so, even when its agent is restarted;
// it takes the subnet back when it can, and another one when its pods are gone.
func TestSubnetIsTakenWhilePodsLive(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	n := l.Node(1)
	own := subnetsOf(t, n)
	key, other := leaseKey(own), map[string]string{}
	other[key] = foreign("192.168.77.250", "26:1b:00:00:00:99")
	before := dataPlane(t, n)

	put(t, l, other)
	await(t, n, func(s status.Status) error { return saysTaken(s, own) })
	if err := n.Agent(0).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Agent(0).Start(); err != nil {
		t.Fatal(err)
	}
	await(t, n, func(s status.Status) error { return saysTaken(s, own) })
	if after := dataPlane(t, n); after != before {
		t.Errorf("after the subnet was taken:\n%s\nwant as before:\n%s", after, before)
	}

	put(t, l, map[string]string{key: ""})
	await(t, n, func(s status.Status) error { return isWell(s, own, true) })
	eventually(t, func() error { return knowsUplink(t, l.Node(2), n.Uplink()[0]) })
	prove(t, l)

	put(t, l, other)
	await(t, n, func(s status.Status) error { return saysTaken(s, own) })
	for _, p := range n.Pods() {
		if err := n.RemovePod(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	await(t, n, func(s status.Status) error { return isWell(s, own, false) })
	gateway := own[0].Addr().Next().String()
	awaitGateways(t, n, nil, []string{gateway})
	if _, err := n.AddPod(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	prove(t, l)
}

// awaitGateways wants the bridge to have addresses that begin with some, and none
// that begin with others.
func awaitGateways(t *testing.T, n *lab.Node, want, gone []string) {
	t.Helper()
	eventually(t, func() error {
		out := output(t, n.NS(), "ip -o address show dev cni0")
		absent := func(a string) bool { return !strings.Contains(out, " inet "+a) }
		if slices.ContainsFunc(want, absent) || slices.ContainsFunc(gone, func(a string) bool { return !absent(a) }) {
			return fmt.Errorf("addresses of the bridge:\n%swant %v, and not %v", out, want, gone)
		}
		return nil
	})
}

// saysTaken wants a node that keeps its subnet and says who else has it.
func saysTaken(s status.Status, own []netip.Prefix) error {
	i := slices.IndexFunc(s.Problems, func(p status.Problem) bool { return p.Part == "lease" })
	if !s.Ready || !slices.Equal(s.Subnets, own) || i < 0 {
		return fmt.Errorf("ready %t, subnets %v, problems %v; want ready with %v, and a problem with the lease", s.Ready, s.Subnets, s.Problems, own)
	}
	for _, word := range []string{own[0].String(), "192.168.77.250", "kubectl drain n1"} {
		if !strings.Contains(s.Problems[i].Seen, word) {
			return fmt.Errorf("problem %q; want it to name %s", s.Problems[i].Seen, word)
		}
	}
	return nil
}

// isWell wants a node without problems, with the subnets or with others.
func isWell(s status.Status, own []netip.Prefix, same bool) error {
	if !s.Ready || len(s.Problems) > 0 || len(s.Subnets) == 0 || slices.Equal(s.Subnets, own) != same {
		return fmt.Errorf("ready %t, problems %v, subnets %v; want ready, none, and %v: %t", s.Ready, s.Problems, s.Subnets, own, same)
	}
	return nil
}

// TestNetworkChangesWhilePodsLive moves a cluster to another pod network. Pods
// of the old one keep their gateway until the last is gone; new ones come beside.
// The node says that it has such pods as long as there are some.
func TestNetworkChangesWhilePodsLive(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	var gateways []string
	for _, n := range l.Nodes() {
		gateways = append(gateways, subnetsOf(t, n)[0].Addr().Next().String())
	}
	put(t, l, map[string]string{"/config": `{"Network":"10.99.0.0/16","Backend":{"Type":"vxlan"}}`})
	network := netip.MustParsePrefix("10.99.0.0/16")
	for i, n := range l.Nodes() {
		gateway := gateways[i]
		await(t, n, func(s status.Status) error {
			if !s.Ready || len(s.Subnets) != 1 || !network.Contains(s.Subnets[0].Addr()) || s.Peers.Programmed != 1 {
				return fmt.Errorf("ready %t, subnets %v, %d peers; want one subnet in %s and one peer", s.Ready, s.Subnets, s.Peers.Programmed, network)
			}
			return nil
		})
		old := n.Pods()[0]
		awaitGateways(t, n, []string{"10.99.", gateway}, nil)
		await(t, n, func(s status.Status) error {
			if len(s.Problems) != 1 || s.Problems[0].Part != "pods" {
				return fmt.Errorf("problems %v; want one, with pods", s.Problems)
			}
			return nil
		})
		if err := n.RemovePod(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		awaitGateways(t, n, []string{"10.99."}, []string{gateway})
		if p, err := n.AddPod(t.Context(), 0); err != nil || !network.Contains(p.Addrs[0]) {
			t.Fatalf("new pod: %v, %v; want an address in %s", p.Addrs, err, network)
		}
		await(t, n, func(s status.Status) error {
			if len(s.Problems) > 0 {
				return fmt.Errorf("problems %v; want none, with the old pod gone", s.Problems)
			}
			return nil
		})
	}
	prove(t, l)
}
