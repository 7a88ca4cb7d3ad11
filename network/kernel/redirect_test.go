// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// TestDirectToTunnelledAndBack moves peers' routes between the underlay and the
// tunnel, where in IPv6 the gateway on the tunnel is inside what the underlay's
// route leads to. By the kernel's own record, each destination has a route at
// every moment, and nothing else stays.
func TestDirectToTunnelledAndBack(t *testing.T) {
	t.Parallel()
	n, tunnelled := newNode(t), overlay(20)
	direct := overlay(20)
	clear(direct.Routes)
	clear(direct.Neighbors)
	clear(direct.Forwards)
	for _, r := range tunnelled.Routes {
		r.Link, r.Onlink, r.Via = "up0", false, netip.MustParseAddr("192.0.2.9")
		if r.Dst.Addr().Is6() {
			r.Via = netip.MustParseAddr("2001:db8::9")
		}
		direct.Routes[r.Key()] = r
	}
	n.reach(t, scope, direct)
	events, err := n.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	n.reach(t, scope, tunnelled)
	n.reach(t, scope, direct)
	n.reach(t, scope, tunnelled)
	replaced := 0
	n.drain(t, events, func(m message) {
		r, ok := decodeRoute(m.body)
		if _, peer := tunnelled.Routes[r.Key()]; !ok || !peer {
			return
		}
		if m.typ == unix.RTM_DELROUTE {
			t.Errorf("%s was deleted; want it replaced", r.Dst)
		} else {
			replaced++
		}
	})
	if replaced != 3*len(tunnelled.Routes) {
		t.Errorf("%d routes were replaced; want %d", replaced, 3*len(tunnelled.Routes))
	}
}

// TestTunnelBesideAnothersDirectRoute sets a peer's route where another program,
// such as an agent before us, has one to the same destination elsewhere.
func TestTunnelBesideAnothersDirectRoute(t *testing.T) {
	t.Parallel()
	n, want := newNode(t), overlay(2)
	const theirs = "fd00:0:0:1::/64 via 2001:db8::9 dev up0 metric 1024"
	n.ip(t, "-6 route add "+theirs)
	n.reach(t, scope, want)
	if left := n.ip(t, "-6 route show proto boot"); left == "" {
		t.Errorf("another's route %s is gone", theirs)
	}
	have := n.read(t, scope)
	for _, r := range have.Routes {
		if r.Dst.IsSingleIP() {
			t.Errorf("a host route %+v is left", r)
		}
	}
	if len(have.Routes) != len(want.Routes) {
		t.Errorf("%d routes; want %d", len(have.Routes), len(want.Routes))
	}
}

// TestRefusedRouteIsStillAnError sets what no second way helps against.
func TestRefusedRouteIsStillAnError(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 1)
	var bad network.Route
	for _, r := range want.Routes {
		if r.Dst.Addr().Is6() {
			bad = r
		}
	}
	n.ip(t, "addr add "+bad.Via.String()+"/128 dev up0 nodad") // so that it is this node's own
	bad.Metric = 77
	if err := n.Apply(t.Context(), network.Changes{SetRoutes: []network.Route{bad}}); err == nil {
		t.Error("Apply of a route via this node itself succeeded; want the kernel's refusal")
	}
	if left := n.ip(t, "-6 route show dev flannel.1 metric 77"); left != "" {
		t.Errorf("routes of a refused one are left: %s", left)
	}
}
