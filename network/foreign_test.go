// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"slices"
	"testing"
)

func gatewayRoute(dst, via, link string, metric uint32, protocol uint8) Route {
	return Route{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr(via), Link: link, Metric: metric, Protocol: protocol}
}

func routes(all ...Route) map[RouteKey]Route {
	m := make(map[RouteKey]Route)
	for _, r := range all {
		m[r.Key()] = r
	}
	return m
}

func TestAdopt(t *testing.T) {
	ours4 := gatewayRoute("10.42.2.0/24", "192.0.2.2", "eth0", 3, Protocol)
	ours6 := gatewayRoute("fd42:0:0:2::/64", "2001:db8::2", "eth0", 3, Protocol)
	tunnel := ours4
	tunnel.Onlink, tunnel.Via, tunnel.Link = true, ours4.Dst.Addr(), "flannel.1"
	as := func(r Route, change func(*Route)) Route { change(&r); return r }
	flannel4 := as(ours4, func(r *Route) { r.Metric, r.Protocol = 0, protocolBoot })
	flannel6 := as(ours6, func(r *Route) { r.Metric, r.Protocol = 1024, protocolBoot })
	for _, tt := range []struct {
		name            string
		foreign, want   Route
		stands          bool // ours is in the kernel
		adopted, shadow bool
		waiting         int
	}{
		{"flannel's", flannel4, ours4, true, true, false, 0},
		{"flannel's, IPv6", flannel6, ours6, true, true, false, 0},
		{"before ours stands", flannel4, ours4, false, false, true, 1},
		{"another gateway", as(flannel4, func(r *Route) { r.Via = r.Via.Next() }), ours4, true, false, true, 0},
		{"another link", as(flannel4, func(r *Route) { r.Link = "eth1" }), ours4, true, false, true, 0},
		{"another destination", as(flannel4, func(r *Route) { r.Dst = netip.MustParsePrefix("10.42.9.0/24") }), ours4, true, false, false, 0},
		{"a metric", as(flannel4, func(r *Route) { r.Metric = 2 }), ours4, true, false, true, 0},
		{"a worse metric than ours", as(flannel4, func(r *Route) { r.Metric = 9 }), ours4, true, false, false, 0},
		{"IPv6 without metric loses", as(flannel6, func(r *Route) { r.Via = r.Via.Next() }), ours6, true, false, false, 0},
		{"marked by another daemon", as(flannel4, func(r *Route) { r.Protocol = 186 }), ours4, true, false, true, 0},
		{"we plan a tunnel", flannel4, tunnel, true, false, true, 0},
		{"a blackhole", Route{Dst: ours4.Dst, Blackhole: true, Protocol: protocolBoot}, ours4, true, false, true, 0},
	} {
		have, want := NewState(), NewState()
		have.Others, want.Routes = routes(tt.foreign), routes(tt.want)
		if tt.stands {
			have.Routes = routes(tt.want)
		}
		waiting := Adopt(have, want)
		deleted := slices.Contains(Compare(have, want).DelRoutes, tt.foreign)
		if waiting != tt.waiting || deleted != tt.adopted {
			t.Errorf("%s: %d wait, to be deleted: %t; want %d, %t", tt.name, waiting, deleted, tt.waiting, tt.adopted)
		}
		if shadows := slices.Contains(Shadows(have, want), tt.foreign); shadows != tt.shadow {
			t.Errorf("%s: wins over ours: %t; want %t", tt.name, shadows, tt.shadow)
		}
	}
}
