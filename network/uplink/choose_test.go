// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

// link makes a usable link. An address may be followed by flags: d dynamic,
// o deprecated (old), t temporary or secondary.
func link(name string, addrs ...string) Link {
	l := Link{Name: name, MTU: 1500, Up: true}
	for _, a := range addrs {
		text, flags, _ := strings.Cut(a, " ")
		l.Addrs = append(l.Addrs, Addr{
			Prefix:     netip.MustParsePrefix(text),
			Permanent:  !strings.Contains(flags, "d"),
			Deprecated: strings.Contains(flags, "o"),
			Temporary:  strings.Contains(flags, "t"),
		})
	}
	return l
}

func down(l Link) Link { l.Up = false; return l }

// route makes a route; "" via: on the link.
func route(dst, via, link string, metric uint32) Route {
	return Route{Dst: netip.MustParsePrefix(dst), Via: addr(via), Link: link, Metric: metric}
}

func regexes(all ...string) (res []*regexp.Regexp) {
	for _, re := range all {
		res = append(res, regexp.MustCompile(re))
	}
	return res
}

var (
	lo   = Link{Name: "lo", MTU: 65536, Up: true, Loopback: true, Addrs: []Addr{{Prefix: netip.MustParsePrefix("127.0.0.1/8"), Permanent: true}}}
	eth0 = link("eth0", "10.0.2.15/24 d", "fd00:2::15/64")
	eth1 = link("eth1", "192.168.9.2/24", "192.168.9.100/24 t", "fe80::2/64", "fd00:9::2/64")
	site = []Link{lo, eth0, eth1, link("docker0", "172.17.0.1/16")}

	two = Facts{Links: site, Routes: []Route{
		route("0.0.0.0/0", "10.0.2.2", "eth0", 100), route("10.0.2.0/24", "", "eth0", 100),
		route("0.0.0.0/0", "192.168.9.1", "eth1", 200), route("192.168.9.0/24", "", "eth1", 0),
		route("::/0", "fe80::1", "eth0", 1024),
	}}
	none = Facts{Links: site}
)

func with(f Facts, routes ...Route) Facts {
	return Facts{Links: f.Links, Routes: routes, Reach: f.Reach}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		wish  Wish
		facts Facts
		want  string // link, IPv4, IPv6, reason
	}{
		{"default route", Wish{V4: true}, two, "eth0 10.0.2.15 - default route via 10.0.2.2 (metric 100)"},
		{"default route of IPv6", Wish{V6: true}, two, "eth0 - fd00:2::15 default route via fe80::1 (metric 1024)"},
		{"dual stack", Wish{V4: true, V6: true}, two,
			"eth0 10.0.2.15 fd00:2::15 default routes via 10.0.2.2 (metric 100) and via fe80::1 (metric 1024)"},
		{"no gateway", Wish{V4: true}, with(none, route("0.0.0.0/0", "", "eth1", 0)),
			"eth1 192.168.9.2 - default route without a gateway (metric 0)"},
		{"multipath", Wish{V4: true}, with(none, route("0.0.0.0/0", "192.168.9.1", "eth1", 0), route("0.0.0.0/0", "10.0.2.2", "eth0", 0)),
			"eth1 192.168.9.2 - default route via 192.168.9.1 (metric 0)"},
		{"multipath, first hop down", Wish{V4: true}, Facts{
			Links:  []Link{down(eth1), eth0},
			Routes: []Route{route("0.0.0.0/0", "192.168.9.1", "eth1", 0), route("0.0.0.0/0", "10.0.2.2", "eth0", 0)},
		}, "eth0 10.0.2.15 - default route via 10.0.2.2 (metric 0)"},
		{"multipath, one hop in common", Wish{V4: true, V6: true}, with(none,
			route("0.0.0.0/0", "192.168.9.1", "eth1", 0), route("0.0.0.0/0", "10.0.2.2", "eth0", 0), route("::/0", "fe80::1", "eth0", 1024)),
			"eth0 10.0.2.15 fd00:2::15 default routes via 10.0.2.2 (metric 0) and via fe80::1 (metric 1024)"},
		{"default route over loopback is passed over", Wish{V4: true}, with(none,
			route("0.0.0.0/0", "", "lo", 0), route("0.0.0.0/0", "192.168.9.1", "eth1", 9)),
			"eth1 192.168.9.2 - default route via 192.168.9.1 (metric 9)"},
		{"one family without a default route", Wish{V4: true, V6: true}, with(none, route("0.0.0.0/0", "192.168.9.1", "eth1", 0)),
			"eth1 192.168.9.2 fd00:9::2 default route via 192.168.9.1 (metric 0)"},

		{"name", Wish{V4: true, Ifaces: []string{"eth1"}}, two, "eth1 192.168.9.2 - --iface eth1"},
		{"second name", Wish{V4: true, Ifaces: []string{"eth7", "lo", "eth1"}}, two, "eth1 192.168.9.2 - --iface eth1"},
		{"names before regexes", Wish{V4: true, Ifaces: []string{"eth1"}, Regexes: regexes("eth0")}, two, "eth1 192.168.9.2 - --iface eth1"},
		{"a pod bridge, if asked for", Wish{V4: true, Ifaces: []string{"docker0"}}, two, "docker0 172.17.0.1 - --iface docker0"},
		{"address", Wish{V4: true, Ifaces: []string{"192.168.9.100"}}, two, "eth1 192.168.9.100 - --iface 192.168.9.100"},
		{"address of the other family", Wish{V6: true, Ifaces: []string{"192.168.9.2"}}, two, "eth1 - fd00:9::2 --iface 192.168.9.2"},
		{"address, dual stack", Wish{V4: true, V6: true, Ifaces: []string{"fd00:9::2"}}, two, "eth1 192.168.9.2 fd00:9::2 --iface fd00:9::2"},

		{"regex by address", Wish{V4: true, Regexes: regexes(`^192\.168\.`)}, two, `eth1 192.168.9.2 - --iface-regex ^192\.168\.`},
		{"regex picks the address", Wish{V4: true, Regexes: regexes(`\.100$`)}, two, `eth1 192.168.9.100 - --iface-regex \.100$`},
		{"regex by name", Wish{V4: true, Regexes: regexes("h1$")}, two, "eth1 192.168.9.2 - --iface-regex h1$"},
		{"addresses before names", Wish{V4: true, Regexes: regexes("eth0|192")}, two, "eth1 192.168.9.2 - --iface-regex eth0|192"},
		{"regex, dual stack: both must match", Wish{V4: true, V6: true, Regexes: regexes(`^192\.168|eth0`)}, two,
			`eth0 10.0.2.15 fd00:2::15 --iface-regex ^192\.168|eth0`},
		{"regex, dual stack", Wish{V4: true, V6: true, Regexes: regexes(`^(192\.168|fd00:9)`)}, two,
			`eth1 192.168.9.2 fd00:9::2 --iface-regex ^(192\.168|fd00:9)`},
		{"second regex", Wish{V4: true, Regexes: regexes("wlan", "^lo$", "eth1")}, two, "eth1 192.168.9.2 - --iface-regex eth1"},

		{"reach", Wish{V4: true, Reach: addr("192.168.9.77")}, Facts{Links: site, Reach: Hop{"eth1", addr("192.168.9.100")}},
			"eth1 192.168.9.100 - --iface-can-reach 192.168.9.77"},
		{"reach comes last", Wish{V4: true, Regexes: regexes("eth0"), Reach: addr("192.168.9.77")}, Facts{Links: site, Reach: Hop{"eth1", addr("192.168.9.2")}},
			"eth0 10.0.2.15 - --iface-regex eth0"},

		{"public address is local", Wish{V4: true, PublicV4: addr("192.168.9.100")}, two,
			"eth1 192.168.9.100 - --public-ip 192.168.9.100"},
		{"public IPv6 address is local", Wish{V6: true, PublicV6: addr("fd00:9::2")}, two, "eth1 - fd00:9::2 --public-ipv6 fd00:9::2"},
		{"public address of a NAT", Wish{V4: true, PublicV4: addr("203.0.113.7")}, two,
			"eth0 10.0.2.15 - default route via 10.0.2.2 (metric 100); --public-ip 203.0.113.7 is on no interface, so it is taken for the address of a NAT"},
		{"one of two public addresses is local", Wish{V4: true, V6: true, PublicV4: addr("203.0.113.7"), PublicV6: addr("fd00:9::2")}, two,
			"eth1 192.168.9.2 fd00:9::2 --public-ipv6 fd00:9::2; --public-ip 203.0.113.7 is on no interface, so it is taken for the address of a NAT"},
		{"public address on the interface asked for", Wish{V4: true, Ifaces: []string{"eth1"}, PublicV4: addr("192.168.9.100")}, two,
			"eth1 192.168.9.100 - --iface eth1"},
		{"mapped address", Wish{V4: true, Ifaces: []string{"::ffff:192.168.9.2"}}, two, "eth1 192.168.9.2 - --iface ::ffff:192.168.9.2"},
		{"address on two interfaces, one of them down", Wish{V4: true, Ifaces: []string{"192.168.9.2"}},
			Facts{Links: []Link{down(link("old", "192.168.9.2/24")), eth1}}, "eth1 192.168.9.2 - --iface 192.168.9.2"},
		{"public address of a family that is off", Wish{V4: true, Ifaces: []string{"192.168.9.2"}, PublicV6: addr("fd00:2::15")}, two,
			"eth1 192.168.9.2 - --iface 192.168.9.2"},
		{"public address elsewhere", Wish{V4: true, Ifaces: []string{"eth1"}, PublicV4: addr("10.0.2.15")}, two, "eth1 192.168.9.2 - --iface eth1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				up, err := Choose(tt.wish, tt.facts)
				got := strings.Join([]string{up.Name, show(up.V4), show(up.V6), up.Why}, " ")
				if err != nil || got != tt.want || up.MTU != 1500 {
					t.Fatalf("Choose = %s, %v\nwant %s", got, err, tt.want)
				}
				tt.facts = shuffled(tt.facts)
			}
		})
	}
}

func show(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// shuffled changes what has no order: routes of different metric, and links
// (of which no two in these tests match one regex).
func shuffled(f Facts) Facts {
	f.Links, f.Routes = slices.Clone(f.Links), slices.Clone(f.Routes)
	rand.Shuffle(len(f.Links), func(i, j int) { f.Links[i], f.Links[j] = f.Links[j], f.Links[i] })
	metrics := map[string]bool{}
	for _, r := range f.Routes {
		key := fmt.Sprint(r.Dst, r.Metric)
		if metrics[key] {
			return f // multipath: the order of its hops counts
		}
		metrics[key] = true
	}
	rand.Shuffle(len(f.Routes), func(i, j int) { f.Routes[i], f.Routes[j] = f.Routes[j], f.Routes[i] })
	return f
}

func TestChooseRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		wish  Wish
		facts Facts
		want  string
	}{
		{"no family", Wish{}, two, "neither IPv4 nor IPv6 is in use"},
		{"no default route", Wish{V4: true}, none,
			"there is no IPv4 default route: name one that is up, as in --iface=eth0"},
		{"no default routes", Wish{V4: true, V6: true}, none,
			"there is no IPv4 default route; there is no IPv6 default route: name one that is up, as in --iface=eth0"},
		{"default route over a link that is down", Wish{V4: true}, Facts{Links: []Link{down(eth0), eth1}, Routes: two.Routes[:1]},
			"IPv4 default route: eth0 is down: name one that is up, as in --iface=eth1"},
		{"two interfaces", Wish{V4: true, V6: true}, with(none, route("0.0.0.0/0", "192.168.9.1", "eth1", 0), route("::/0", "fe80::1", "eth0", 1)),
			"the IPv4 default route leads over eth1, that of IPv6 over eth0: name one that is up, as in --iface=eth0"},
		{"two interfaces, one of them after a miss", Wish{V4: true, V6: true}, with(none,
			route("0.0.0.0/0", "", "lo", 0), route("0.0.0.0/0", "192.168.9.1", "eth1", 1), route("::/0", "fe80::1", "eth0", 1)),
			"IPv4 default route: lo is a loopback interface; the IPv4 default route leads over eth1, that of IPv6 over eth0: " +
				"name one that is up, as in --iface=eth0"},
		{"two interfaces, in common only at another metric", Wish{V4: true, V6: true}, with(none,
			route("0.0.0.0/0", "10.0.2.2", "eth0", 100), route("0.0.0.0/0", "192.168.9.1", "eth1", 200), route("::/0", "fe80::1", "eth1", 1)),
			"the IPv4 default route leads over eth0, that of IPv6 over eth1: name one that is up, as in --iface=eth0"},
		{"one of two default routes is of no use", Wish{V4: true, V6: true}, Facts{Links: []Link{down(eth0), eth1},
			Routes: []Route{route("0.0.0.0/0", "10.0.2.2", "eth0", 0), route("::/0", "fe80::1", "eth1", 1)}},
			"IPv4 default route: eth0 is down: name one that is up, as in --iface=eth1"},
		{"other family missing", Wish{V4: true, V6: true}, Facts{Links: []Link{link("eth2", "10.1.0.1/24")}, Routes: []Route{route("0.0.0.0/0", "10.1.0.9", "eth2", 0)}},
			"there is no IPv6 default route; default route via 10.1.0.9 (metric 0): eth2 has no usable IPv6 address: " +
				"no interface is up and has an address of each family in use"},
		{"IPv6 link-local alone", Wish{V6: true, Ifaces: []string{"eth2"}}, Facts{Links: []Link{link("eth2", "fe80::7/64")}},
			"--iface eth2: eth2 has no usable IPv6 address: no interface is up and has an address of each family in use"},
		{"our own device is no uplink", Wish{V4: true, Regexes: regexes(`^10\.42`, "^flannel"), Pods: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}},
			Facts{Links: []Link{link("flannel.1", "10.42.1.0/32"), link("eth2", "10.1.0.1/24")}},
			`--iface-regex ^10\.42: matches no address and no name; --iface-regex ^flannel: flannel.1 has no usable IPv4 address: ` +
				"name one that is up, as in --iface=eth2"},
		{"our own device is no remedy", Wish{V4: true, Pods: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}}, Facts{Links: []Link{link("flannel.1", "10.42.1.0/32"), link("eth2", "10.1.0.1/24")}},
			"there is no IPv4 default route: name one that is up, as in --iface=eth2"},
		{"no MTU", Wish{V4: true, Ifaces: []string{"x"}}, Facts{Links: []Link{{Name: "x", Up: true}, eth1}},
			"--iface x: x has no MTU: name one that is up, as in --iface=eth1"},
		{"nothing named fits", Wish{V4: true, Ifaces: []string{"eth7", "10.9.9.9", "lo"}, Regexes: regexes("^wlan"), Reach: addr("10.7.7.7")}, two,
			"--iface eth7: no such interface; --iface 10.9.9.9: no interface has this address; --iface lo: lo is a loopback interface; " +
				"--iface-regex ^wlan: matches no address and no name; --iface-can-reach 10.7.7.7: the kernel has no route to it: " +
				"name one that is up, as in --iface=eth0"},
		{"regex, dual stack", Wish{V4: true, V6: true, Regexes: regexes(`^192`)}, two,
			"--iface-regex ^192: matches no address (an interface needs a match in both families) and no name: " +
				"name one that is up, as in --iface=eth0"},
		{"public IPv6 address on another interface", Wish{V4: true, V6: true, Ifaces: []string{"192.168.9.2"}, PublicV6: addr("fd00:2::15")}, two,
			"--iface 192.168.9.2 is on eth1, but --public-ipv6 fd00:2::15 on eth0: name one that is up, as in --iface=eth0"},
	} {
		if up, err := Choose(tt.wish, tt.facts); err == nil || err.Error() != tt.want {
			t.Errorf("%s: Choose = %+v, %v\nwant %s", tt.name, up, err, tt.want)
		}
	}
}

func TestErrorIsBounded(t *testing.T) {
	t.Parallel()
	var f Facts
	for i := range 5000 {
		f.Links = append(f.Links, down(link(fmt.Sprintf("veth%d", i))))
	}
	_, err := Choose(Wish{V4: true, Regexes: regexes("veth")}, f)
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "and 4992 more") {
		t.Errorf("error = %.300v ...; want it short", err)
	}
}

func TestBestAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ addrs, v4, v6 string }{
		{"", "-", "-"},
		{"10.0.0.1/24", "10.0.0.1", "-"},
		{"10.0.0.1/24,10.0.0.2/24", "10.0.0.1", "-"},                 // the kernel's order
		{"10.0.0.2/24,10.0.0.1/24", "10.0.0.2", "-"},                 // not the lowest
		{"169.254.7.7/16,10.0.0.1/24 d", "10.0.0.1", "-"},            // global before link-local
		{"169.254.7.7/16", "169.254.7.7", "-"},                       // which is better than none
		{"10.0.0.1/24 d,10.0.1.1/24", "10.0.1.1", "-"},               // permanent before dynamic
		{"10.0.0.1/24 o", "-", "-"},                                  // never deprecated
		{"10.0.0.1/24 d,10.0.0.100/24 t", "10.0.0.1", "-"},           // a secondary address may be a VIP
		{"10.0.0.100/32,10.0.0.1/24 d", "10.0.0.1", "-"},             // a bare address may be one, too
		{"10.0.0.1/32", "10.0.0.1", "-"},                             // unless it is the only one
		{"10.0.0.1/32 d,10.0.0.100/32", "10.0.0.1", "-"},             // or came with a lease
		{"fe80::1/64,fd00::1/64 d", "-", "fd00::1"},                  // as IPv4
		{"fd00::d/128 d,fd00::5/64 d", "-", "fd00::d"},               // DHCPv6 beside SLAAC
		{"fd00::5/64 dt,fd00::6/64 d,fd00::7/64 do", "-", "fd00::6"}, // no privacy address
		{"fd00::5/64 dt", "-", "fd00::5"},
		{"127.0.0.1/8,224.0.0.1/4,::1/128,ff02::1/64", "-", "-"},
	} {
		var addrs []string
		if tt.addrs != "" {
			addrs = strings.Split(tt.addrs, ",")
		}
		l := link("x", addrs...)
		if v4, v6 := show(best(l, false)), show(best(l, true)); v4 != tt.v4 || v6 != tt.v6 {
			t.Errorf("best of %s = %s, %s; want %s, %s", tt.addrs, v4, v6, tt.v4, tt.v6)
		}
	}
}

func TestOnLink(t *testing.T) {
	t.Parallel()
	f := Facts{Links: []Link{link("eth1", "192.168.9.2/24", "10.7.7.7/32", "fd00:9::2/64"), eth0}, Routes: []Route{
		route("0.0.0.0/0", "", "eth1", 0), // tells nothing of who is there
		route("192.168.9.0/24", "", "eth1", 0),
		route("192.168.10.0/24", "", "eth1", 5),
		route("172.16.0.0/12", "192.168.9.1", "eth1", 0),
		route("10.0.2.0/24", "", "eth0", 0),
	}}
	up, err := Choose(Wish{V4: true}, f)
	if want := "[10.7.7.7/32 192.168.9.0/24 192.168.10.0/24 fd00:9::/64]"; err != nil || fmt.Sprint(up.OnLink) != want {
		t.Errorf("OnLink = %v, %v; want %s", up.OnLink, err, want)
	}
	for a, want := range map[string]bool{"192.168.9.77": true, "192.168.10.1": true, "172.16.0.1": false, "10.0.2.2": false, "8.8.8.8": false, "fd00:9::7": true} {
		if up.Reaches(addr(a)) != want {
			t.Errorf("Reaches(%s) = %v; want %v", a, !want, want)
		}
	}
	if !slices.IsSortedFunc(up.OnLink, netip.Prefix.Compare) {
		t.Errorf("OnLink %v is not sorted", up.OnLink)
	}
}
