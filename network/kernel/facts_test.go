// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/percale-net/percale/network/uplink"
)

func TestFacts(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, args := range []string{
		"addr add 192.0.2.2/24 dev up0",
		"addr add 198.51.100.1/24 dev up0 valid_lft 1000 preferred_lft 1000",
		"addr add 2001:db8::2/64 dev up0 nodad preferred_lft 0",
		"addr add 10.0.0.1 peer 10.0.0.2/32 dev far0",
		"route add default metric 10 nexthop via 192.0.2.9 dev up0 nexthop via 192.0.2.8 dev up0",
		"route add default dev far0 metric 20",
		"-6 route add default via 2001:db8::9 dev up0 metric 30",
		"route add 203.0.113.0/24 via 192.0.2.7 dev up0",
		"route add unreachable 203.0.114.0/24",
		"route add 10.7.0.0/16 dev far0 table 7",
	} {
		n.ip(t, args)
	}
	f, err := n.Facts(t.Context(), netip.MustParseAddr("203.0.113.5"))
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.Collect(func(yield func(string) bool) {
		for _, l := range f.Links {
			yield(l.Name)
		}
	}); !slices.Contains(names, "lo") || len(names) != 3 || names[0] != "lo" || !f.Links[0].Loopback || f.Links[1].Loopback {
		t.Errorf("links = %v; want lo first of 3, and it alone a loopback", names)
	}
	up := f.Links[slices.IndexFunc(f.Links, func(l uplink.Link) bool { return l.Name == "up0" })]
	up.Addrs = slices.DeleteFunc(up.Addrs, func(a uplink.Addr) bool { return a.Prefix.Addr().IsLinkLocalUnicast() })
	prefix := netip.MustParsePrefix
	wantUp := uplink.Link{Name: "up0", MTU: 1500, Up: true, Addrs: []uplink.Addr{
		{Prefix: prefix("192.0.2.1/24"), Permanent: true},
		{Prefix: prefix("198.51.100.1/24")},
		{Prefix: prefix("192.0.2.2/24"), Permanent: true, Temporary: true},
		{Prefix: prefix("2001:db8::2/64"), Permanent: true, Deprecated: true},
		{Prefix: prefix("2001:db8::1/64"), Permanent: true},
	}}
	if !reflect.DeepEqual(up, wantUp) {
		t.Errorf("up0 = %+v; want %+v", up, wantUp)
	}
	for _, want := range []uplink.Route{
		{Dst: prefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.9"), Link: "up0", Metric: 10},
		{Dst: prefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.8"), Link: "up0", Metric: 10},
		{Dst: prefix("0.0.0.0/0"), Link: "far0", Metric: 20},
		{Dst: prefix("::/0"), Via: netip.MustParseAddr("2001:db8::9"), Link: "up0", Metric: 30},
		{Dst: prefix("192.0.2.0/24"), Link: "up0"},
		{Dst: prefix("2001:db8::/64"), Link: "up0", Metric: 256},
	} {
		if !slices.Contains(f.Routes, want) {
			t.Errorf("routes = %v; want %v among them", f.Routes, want)
		}
	}
	for _, r := range f.Routes {
		if r.Dst == prefix("203.0.113.0/24") || r.Dst == prefix("203.0.114.0/24") || r.Dst == prefix("10.7.0.0/16") {
			t.Errorf("route %v is among the facts; want none with a gateway, of another type or table", r)
		}
	}
}

func TestFactsReach(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ip(t, "route add 203.0.113.0/24 via 192.0.2.7 dev up0")
	n.ip(t, "route add unreachable 203.0.114.0/24")
	n.ip(t, "route add blackhole 203.0.115.0/24")
	n.ip(t, "route add prohibit 203.0.116.0/24")
	n.ip(t, "-6 route add 2001:db8:1::/64 via 2001:db8::7 dev up0")
	n.ip(t, "-6 route add unreachable 2001:db8:2::/64")
	n.ip(t, "-6 route add blackhole 2001:db8:3::/64")
	v4 := uplink.Hop{Link: "up0", Src: netip.MustParseAddr("192.0.2.1")}
	v6 := uplink.Hop{Link: "up0", Src: netip.MustParseAddr("2001:db8::1")}
	for to, want := range map[string]uplink.Hop{
		"203.0.113.5": v4, "192.0.2.200": v4, "::ffff:192.0.2.200": v4, "2001:db8:1::5": v6, "2001:db8::77": v6,
		"8.8.8.8": {}, "203.0.114.1": {}, "203.0.115.1": {}, "203.0.116.1": {},
		"2001:db8:2::1": {}, "2001:db8:3::1": {}, "2001:db9::1": {},
		"192.0.2.1": {Link: "lo", Src: netip.MustParseAddr("192.0.2.1")},
	} {
		f, err := n.Facts(t.Context(), netip.MustParseAddr(to))
		if err != nil || f.Reach != want {
			t.Errorf("way to %s = %+v, %v; want %+v", to, f.Reach, err, want)
		}
	}
}
