// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/network"
)

func prefixes(s ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func addrs(s ...string) []netip.Addr {
	var a []netip.Addr
	for _, s := range s {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

func TestHostEnd(t *testing.T) {
	t.Parallel()
	name, mac := HostEnd("abc", "eth0")
	if again, sameMAC := HostEnd("abc", "eth0"); name != again || mac != sameMAC {
		t.Errorf("HostEnd = %s %s, then %s %s; want the same", name, mac, again, sameMAC)
	}
	if len(name) != 15 || !strings.HasPrefix(name, "veth") || mac.IsGroup() || mac[0]&2 == 0 {
		t.Errorf("HostEnd = %s %s; want 15 bytes from veth, a local unicast MAC", name, mac)
	}
	seen := map[string]bool{name: true}
	for _, other := range [][2]string{{"abc", "eth1"}, {"abd", "eth0"}, {"abce", "th0"}, {strings.Repeat("a", 4096), "eth0"}} {
		n, _ := HostEnd(other[0], other[1])
		if seen[n] {
			t.Errorf("HostEnd(%.10s, %s) = %s, as of another attachment", other[0], other[1], n)
		}
		seen[n] = true
	}
}

func TestMAC(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.42.7.2":     "0a:58:0a:2a:07:02",
		"fd00:7::2":     "0a:58:00:00:00:02",
		"fd00::1:2:3:4": "0a:58:00:03:00:04",
	} {
		if got := MAC(netip.MustParseAddr(in)); got.String() != want || got.IsGroup() {
			t.Errorf("MAC(%s) = %s; want %s", in, got, want)
		}
	}
}

func sysctls(s network.State) []string {
	var out []string
	for _, e := range s.Sysctls {
		out = append(out, e.Path+"="+e.Value)
	}
	slices.Sort(out)
	return out
}

func TestBridgeState(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		bridge  Bridge
		link    network.Link
		sysctls []string
	}{
		{
			name:   "IPv4, kernel without IPv6",
			bridge: Bridge{Name: "cni0", MTU: 1450, Gateways: prefixes("10.42.7.1/24")},
			link: network.Link{Name: "cni0", Kind: network.KindBridge, MTU: 1450, Up: true,
				MAC: network.MAC{0x0a, 0x58, 10, 42, 7, 1}},
			sysctls: []string{"net/ipv4/ip_forward=1"},
		},
		{
			name:   "both families",
			bridge: Bridge{Name: "cni0", MTU: 1450, Gateways: prefixes("10.42.7.1/24", "fd00:7::1/64"), IPv6: true, Promisc: true},
			link: network.Link{Name: "cni0", Kind: network.KindBridge, MTU: 1450, Up: true, Promisc: true,
				MAC: network.MAC{0x0a, 0x58, 10, 42, 7, 1}},
			sysctls: []string{"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1",
				"net/ipv6/conf/cni0/accept_dad=0", "net/ipv6/conf/cni0/accept_ra=0", "net/ipv6/conf/cni0/disable_ipv6=0"},
		},
		{
			name:   "IPv6",
			bridge: Bridge{Name: "br", MTU: 1430, Gateways: prefixes("fd00:7::1/64"), IPv6: true},
			link: network.Link{Name: "br", Kind: network.KindBridge, MTU: 1430, Up: true,
				MAC: network.MAC{0x0a, 0x58, 0, 0, 0, 1}},
			sysctls: []string{"net/ipv6/conf/all/forwarding=1", "net/ipv6/conf/br/accept_dad=0", "net/ipv6/conf/br/accept_ra=0", "net/ipv6/conf/br/disable_ipv6=0"},
		},
		{
			name:    "no gateway",
			bridge:  Bridge{Name: "cni0", MTU: 1450, IPv6: true},
			link:    network.Link{Name: "cni0", Kind: network.KindBridge, MTU: 1450, Up: true},
			sysctls: []string{"net/ipv6/conf/cni0/accept_ra=0"},
		},
	} {
		s := tt.bridge.State()
		if got := s.Links[tt.bridge.Name]; len(s.Links) != 1 || got != tt.link {
			t.Errorf("%s: link = %+v; want %+v", tt.name, got, tt.link)
		}
		if got := sysctls(s); !slices.Equal(got, tt.sysctls) {
			t.Errorf("%s: sysctls = %v; want %v", tt.name, got, tt.sysctls)
		}
		var have []netip.Prefix
		for a := range s.Addresses {
			have = append(have, a.Prefix)
		}
		slices.SortFunc(have, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		if !slices.Equal(have, tt.bridge.Gateways) || len(s.Routes) != 0 {
			t.Errorf("%s: addresses = %v, routes = %v; want %v and none", tt.name, have, s.Routes, tt.bridge.Gateways)
		}
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	b := Bridge{Name: "cni0", MTU: 1450, Gateways: prefixes("10.42.7.1/24")}
	have := network.Link{Name: "cni0", Kind: network.KindBridge, MTU: 1450, Up: true, Promisc: true,
		Master: "vrf0", MAC: network.MAC{2, 2, 2, 2, 2, 2}}
	if got := network.LinkChange(have, b.Adopt(have)); got != network.Keep {
		t.Errorf("change of a bridge that differs only in what is an operator's = %v; want Keep", got)
	}
	have.MTU, have.Up = 1500, false
	got := b.Adopt(have)
	if network.LinkChange(have, got) != network.Modify || got.MTU != 1450 || !got.Up || got.MAC != have.MAC {
		t.Errorf("Adopt = %+v; want MTU 1450, up, and its own MAC", got)
	}
	have.MTU = 1300
	if got := b.Adopt(have); got.MTU != 1300 {
		t.Errorf("Adopt of MTU 1300 = %+v; want it kept for the pods that have it", got)
	}
	have.MTU, b.Gateways = 900, prefixes("10.42.7.1/24", "fd00:7::1/64")
	if got := b.Adopt(have); got.MTU != 1450 {
		t.Errorf("Adopt of MTU 900 = %+v; want 1450, since IPv6 cannot use 900", got)
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	b := Bridge{Name: "cni0", Gateways: prefixes("10.42.7.1/24", "fd00:7::1/64")}
	for _, tt := range []struct {
		name string
		have []string
		want []string
	}{
		{"new bridge", nil, nil},
		{"as wanted", []string{"10.42.7.1/24", "fd00:7::1/64"}, nil},
		{"extra addresses", []string{"10.42.7.1/24", "192.0.2.1/32", "fd00:7::1/64"}, nil},
		{"other subnet", []string{"10.42.9.1/24", "fd00:7::1/64"}, []string{"10.42.9.1/24"}},
		{"other length", []string{"10.42.7.1/25"}, []string{"10.42.7.1/25"}},
		{"other IPv6", []string{"10.42.7.1/24", "fd00:9::1/64"}, []string{"fd00:9::1/64"}},
		{"IPv6 is new", []string{"10.42.7.1/24"}, nil},
		{"both", []string{"10.42.9.1/24", "fd00:9::1/64"}, []string{"10.42.9.1/24", "fd00:9::1/64"}},
	} {
		have := map[network.Address]network.Address{}
		for _, p := range prefixes(tt.have...) {
			a := network.Address{Link: "cni0", Prefix: p}
			have[a] = a
		}
		other := network.Address{Link: "eth0", Prefix: netip.MustParsePrefix("192.0.2.9/24")}
		have[other] = other
		var got []netip.Prefix
		for _, a := range b.Foreign(have) {
			got = append(got, a.Prefix)
		}
		slices.SortFunc(got, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		if !slices.Equal(got, prefixes(tt.want...)) {
			t.Errorf("%s: Foreign = %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestPort(t *testing.T) {
	t.Parallel()
	b := Bridge{Name: "cni0", MTU: 1450, Hairpin: true}
	name, mac := HostEnd("abc", "eth0")
	want := network.Link{Name: name, Kind: network.KindVeth, MTU: 1450, MAC: mac, Up: true, Master: "cni0", Hairpin: true}
	if got := b.Port(Attachment{Container: "abc", Ifname: "eth0"}); got != want {
		t.Errorf("Port = %+v; want %+v", got, want)
	}
}

func TestAttachmentState(t *testing.T) {
	t.Parallel()
	a := Attachment{
		Container: "abc", Ifname: "eth0", MTU: 1450, IPv6: true,
		Addresses: prefixes("10.42.7.2/24", "fd00:7::2/64"),
		Routes: []network.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.42.7.1"),
			Link: "eth0", Protocol: network.Protocol}},
	}
	s := a.State()
	want := network.Link{Name: "eth0", Kind: network.KindVeth, MTU: 1450, Up: true, MAC: network.MAC{0x0a, 0x58, 10, 42, 7, 2}}
	if s.Links["eth0"] != want || len(s.Links) != 1 {
		t.Errorf("links = %+v; want %+v", s.Links, want)
	}
	if len(s.Addresses) != 2 || len(s.Routes) != 1 {
		t.Errorf("addresses = %v, routes = %v; want 2 and 1", s.Addresses, s.Routes)
	}
	wantSysctls := []string{"net/ipv6/conf/eth0/accept_dad=0", "net/ipv6/conf/eth0/accept_ra=0", "net/ipv6/conf/eth0/disable_ipv6=0"}
	if got := sysctls(s); !slices.Equal(got, wantSysctls) {
		t.Errorf("sysctls = %v; want %v", got, wantSysctls)
	}
	a.MAC, a.Addresses, a.IPv6 = network.MAC{2, 0, 0, 0, 0, 9}, a.Addresses[:1], false
	s = a.State()
	if s.Links["eth0"].MAC != a.MAC || len(s.Sysctls) != 0 {
		t.Errorf("state = %+v; want the given MAC and no sysctl where the kernel has no IPv6", s)
	}
}

// The order in which addresses and routes are told does not matter, except
// that the MAC is of the first address.
func TestAttachmentStateShuffled(t *testing.T) {
	t.Parallel()
	a := Attachment{Ifname: "eth0", MTU: 1450, MAC: network.MAC{2}, IPv6: true, Addresses: prefixes("10.42.7.2/24", "fd00:7::2/64")}
	for _, p := range prefixes("0.0.0.0/0", "10.42.0.0/16", "::/0", "fd00::/48") {
		a.Routes = append(a.Routes, network.Route{Dst: p, Link: "eth0"})
	}
	want := a.State()
	for range 20 {
		rand.Shuffle(len(a.Routes), func(i, j int) { a.Routes[i], a.Routes[j] = a.Routes[j], a.Routes[i] })
		slices.Reverse(a.Addresses)
		if got := a.State(); !reflect.DeepEqual(got, want) {
			t.Fatalf("State = %+v; want %+v", got, want)
		}
	}
	if len(slices.Collect(maps.Keys(want.Routes))) != 4 {
		t.Errorf("routes = %v; want four", want.Routes)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	v4 := Routing{Ifname: "eth0", Subnets: prefixes("10.42.7.0/24"), Gateways: addrs("10.42.7.1"), Networks: prefixes("10.42.0.0/16")}
	dual := Routing{Ifname: "eth0", Subnets: prefixes("10.42.7.0/24", "fd00:0:0:7::/64"), Gateways: addrs("10.42.7.1", "fd00:0:0:7::1"),
		Networks: prefixes("10.42.0.0/16", "fd00::/48")}
	with := func(r Routing, change func(*Routing)) Routing { change(&r); return r }
	for _, tt := range []struct {
		name string
		in   Routing
		want []string
		err  string
	}{
		{name: "network", in: v4, want: []string{"10.42.0.0/16 via 10.42.7.1"}},
		{name: "default", in: with(v4, func(r *Routing) { r.Default = true }),
			want: []string{"10.42.0.0/16 via 10.42.7.1", "0.0.0.0/0 via 10.42.7.1"}},
		{name: "both families", in: with(dual, func(r *Routing) { r.Default = true }),
			want: []string{"10.42.0.0/16 via 10.42.7.1", "fd00::/48 via fd00:0:0:7::1 metric 1024",
				"0.0.0.0/0 via 10.42.7.1", "::/0 via fd00:0:0:7::1 metric 1024"}},
		{name: "given come first", in: with(v4, func(r *Routing) {
			r.Given = []Given{{Dst: netip.MustParsePrefix("192.0.2.7/24")}, {Dst: netip.MustParsePrefix("198.51.100.0/24"),
				Via: netip.MustParseAddr("10.42.7.9"), Metric: 5}}
		}), want: []string{"192.0.2.0/24 via 10.42.7.1", "198.51.100.0/24 via 10.42.7.9 metric 5", "10.42.0.0/16 via 10.42.7.1"}},
		{name: "given default is the default", in: with(v4, func(r *Routing) {
			r.Default = true
			r.Given = []Given{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.42.7.9")}}
		}), want: []string{"0.0.0.0/0 via 10.42.7.9", "10.42.0.0/16 via 10.42.7.1"}},
		{name: "given network wins", in: with(v4, func(r *Routing) {
			r.Given = []Given{{Dst: netip.MustParsePrefix("10.42.0.0/16"), Via: netip.MustParseAddr("10.42.7.9")}}
		}), want: []string{"10.42.0.0/16 via 10.42.7.9"}},
		{name: "networks may repeat", in: with(v4, func(r *Routing) { r.Networks = prefixes("10.42.0.0/16", "10.42.0.0/16", "10.99.0.0/16") }),
			want: []string{"10.42.0.0/16 via 10.42.7.1", "10.99.0.0/16 via 10.42.7.1"}},
		{name: "a network that is the subnet", in: with(v4, func(r *Routing) { r.Networks = prefixes("10.42.7.0/24") }), want: nil},
		{name: "network of a family without address", in: with(v4, func(r *Routing) { r.Networks = prefixes("fd00::/48") }), want: nil},
		{name: "given of a family without address", in: with(v4, func(r *Routing) { r.Given = []Given{{Dst: netip.MustParsePrefix("fd00::/48")}} }),
			err: "route to fd00::/48: the pod has no address of that family"},
	} {
		got, err := tt.in.Routes()
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: error = %v; want %q", tt.name, err, tt.err)
			}
			continue
		}
		var text []string
		for _, r := range got {
			s := r.Dst.String() + " via " + r.Via.String()
			switch r.Metric {
			case 0:
			case 5:
				s += " metric 5"
			default:
				s += " metric 1024"
			}
			text = append(text, s)
			if r.Link != "eth0" || r.Protocol != network.Protocol {
				t.Errorf("%s: route = %+v; want it on eth0, ours", tt.name, r)
			}
		}
		if err != nil || !slices.Equal(text, tt.want) {
			t.Errorf("%s: Routes = %q, %v; want %q", tt.name, text, err, tt.want)
		}
	}
}
