// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// TestForeignRoutesAreApart reads routes of others beside ours: what is ours to
// change never holds them, and an adopted one is deleted without ours.
func TestForeignRoutesAreApart(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := Scope{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd00::/48")}}
	want := network.NewState()
	for dst, via := range map[string]string{"10.0.1.0/24": "192.0.2.9", "fd00:0:0:1::/64": "2001:db8::9"} {
		r := network.Route{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr(via), Link: "up0", Metric: 7, Protocol: network.Protocol}
		want.Routes[r.Key()] = r
	}
	n.reach(t, s, want)
	for _, args := range []string{
		"route add 10.0.1.0/24 via 192.0.2.9 dev up0", "-6 route add fd00:0:0:1::/64 via 2001:db8::9 dev up0",
		"route add 10.0.2.0/24 via 192.0.2.9 dev up0", "route add 10.9.0.0/16 via 192.0.2.9 dev up0", "route add blackhole 10.0.3.0/24 proto static",
	} {
		n.ip(t, args)
	}
	have := n.read(t, s)
	for _, dst := range []string{"10.0.1.0/24", "fd00:0:0:1::/64", "10.0.2.0/24", "10.0.3.0/24"} {
		k := network.RouteKey{Dst: netip.MustParsePrefix(dst)}
		if k.Dst.Addr().Is6() {
			k.Metric = 1024
		}
		if r, ok := have.Others[k]; !ok || r.Protocol != unix.RTPROT_BOOT && r.Protocol != unix.RTPROT_STATIC {
			t.Errorf("foreign routes have %+v for %s; want it as it was added", r, dst)
		}
	}
	if len(have.Others) != 4 || len(have.Routes) != 2 {
		t.Errorf("foreign routes %v, ours %v; want 4 and 2", have.Others, have.Routes)
	}
	if c := network.Compare(have, want); c.Len() != 0 {
		t.Errorf("with routes of others there is to do: %v", c)
	}
	if waiting := network.Adopt(have, want); waiting != 0 {
		t.Errorf("%d routes wait to be adopted; want none", waiting)
	}
	if err := n.Apply(t.Context(), network.Compare(have, want)); err != nil {
		t.Fatal(err)
	}
	have = n.read(t, s)
	if len(have.Others) != 2 || network.Compare(have, want).Len() != 0 {
		t.Errorf("after adoption foreign routes %v, ours %v; want 2 and 2", have.Others, have.Routes)
	}
}
