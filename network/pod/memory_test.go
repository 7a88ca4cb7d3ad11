// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/percale-net/percale/network"
)

var bridgeMAC = network.MAC{0x0a, 0x58, 10, 42, 7, 1}

// sight makes a Sight of links, with what bridges have as "cni0 10.42.7.1/24".
func sight(links []network.Link, held map[string][]string) Sight {
	s := Sight{Links: make(map[string]network.Link), Gateways: prefixes("10.42.7.1/24", "fd00:7::1/64")}
	for _, l := range links {
		s.Links[l.Name] = l
	}
	for name, addrs := range held {
		for _, p := range prefixes(addrs...) {
			s.Addresses = append(s.Addresses, network.Address{Link: name, Prefix: p})
		}
	}
	return s
}

func bridgeLink(name string) network.Link {
	return network.Link{Name: name, Kind: network.KindBridge, MTU: 1450, MAC: bridgeMAC, Up: true}
}

func port(name, master string, hairpin bool) network.Link {
	return network.Link{Name: name, Kind: network.KindVeth, MTU: 1450, MAC: network.MAC{2, 0, 0, 0, 0, 9}, Up: true, Master: master, Hairpin: hairpin}
}

func TestLearn(t *testing.T) {
	t.Parallel()
	both := []string{"10.42.7.1/24", "fd00:7::1/64"}
	known := Memory{Name: "cni0", MAC: bridgeMAC, Promisc: true, Gateways: prefixes(both...),
		Ports: map[string]bool{"veth1": true, "veth2": false}}
	older := known
	older.Gateways = prefixes("10.42.3.1/24", "10.42.7.1/24", "fd00:7::1/64")
	for _, tt := range []struct {
		name    string
		was     Memory
		links   []network.Link
		held    map[string][]string
		earlier []string
		want    string   // name of the bridge
		ports   []string // of it
		gates   []string // remembered
	}{
		{name: "nothing"},
		{name: "no bridge has our gateway",
			links: []network.Link{bridgeLink("br0"), port("veth1", "br0", true)}, held: map[string][]string{"br0": {"10.42.8.1/24"}}},
		{name: "the address with another length is not ours",
			links: []network.Link{bridgeLink("br0")}, held: map[string][]string{"br0": {"10.42.7.1/16"}}},
		{name: "a gateway on what is no bridge",
			links: []network.Link{{Name: "dummy0", Kind: "dummy"}}, held: map[string][]string{"dummy0": both}},
		{name: "found, whatever its name", links: []network.Link{bridgeLink("br0"), bridgeLink("other"), port("veth1", "br0", true)},
			held: map[string][]string{"br0": both[:1]}, want: "br0", ports: []string{"veth1"}, gates: both},
		{name: "found by the gateway of an earlier lease", links: []network.Link{bridgeLink("cni0"), port("veth1", "cni0", true)},
			held: map[string][]string{"cni0": {"10.42.3.1/24"}}, earlier: []string{"10.42.3.1/24"},
			want: "cni0", ports: []string{"veth1"}, gates: []string{"10.42.3.1/24", both[0], both[1]}},
		{name: "flushed", was: known, links: []network.Link{bridgeLink("cni0"), port("veth1", "cni0", true)},
			want: "cni0", ports: []string{"veth1"}, gates: both},
		{name: "deleted", was: known, links: []network.Link{port("veth1", "", false), port("veth2", "", false)},
			want: "cni0", ports: []string{"veth1", "veth2"}, gates: both},
		{name: "replaced by another kind", was: known, links: []network.Link{{Name: "cni0", Kind: "dummy"}, port("veth1", "", false)},
			want: "cni0", ports: []string{"veth1"}, gates: both},
		{name: "deleted with all pods", was: known, links: []network.Link{bridgeLink("br0")}},
		{name: "a port that went to another bridge", was: known,
			links: []network.Link{bridgeLink("cni0"), bridgeLink("br0"), port("veth1", "br0", true), port("veth2", "", false)},
			want:  "cni0", ports: []string{"veth2"}, gates: both},
		{name: "an operator's port is not a pod's", was: known,
			links: []network.Link{bridgeLink("cni0"), {Name: "eth1", Master: "cni0"}}, want: "cni0", gates: both},
		{name: "two have the gateway: the one that it was", was: known, links: []network.Link{bridgeLink("cni0"), bridgeLink("br0")},
			held: map[string][]string{"cni0": both, "br0": both}, want: "cni0", gates: both},
		{name: "another has taken over", was: known, links: []network.Link{bridgeLink("cni0"), bridgeLink("br0"), port("veth1", "br0", true)},
			held: map[string][]string{"br0": both}, want: "br0", ports: []string{"veth1"}, gates: both},
		{name: "an earlier gateway stays while pods do, even flushed", was: older,
			links: []network.Link{bridgeLink("cni0"), port("veth1", "cni0", true)},
			want:  "cni0", ports: []string{"veth1"}, gates: []string{"10.42.3.1/24", both[0], both[1]}},
		{name: "an earlier gateway without pods is known while it is there", was: older,
			links: []network.Link{bridgeLink("cni0")}, held: map[string][]string{"cni0": {"10.42.3.1/24"}},
			want: "cni0", gates: []string{"10.42.3.1/24", both[0], both[1]}},
		{name: "and forgotten then", was: older, links: []network.Link{bridgeLink("cni0")}, want: "cni0", gates: both},
	} {
		s := sight(tt.links, tt.held)
		s.Earlier = prefixes(tt.earlier...)
		before := tt.was
		before.Ports = maps.Clone(before.Ports)
		got := Learn(tt.was, s)
		if ports := slices.Sorted(maps.Keys(got.Ports)); got.Name != tt.want || !slices.Equal(ports, tt.ports) || !slices.Equal(got.Gateways, prefixes(tt.gates...)) {
			t.Errorf("%s: learned %q, ports %v, gateways %v; want %q, %v, %v", tt.name, got.Name, ports, got.Gateways, tt.want, tt.ports, tt.gates)
		}
		if again := Learn(got, s); !reflect.DeepEqual(again, got) {
			t.Errorf("%s: learned again %+v; want %+v", tt.name, again, got)
		}
		if !reflect.DeepEqual(tt.was, before) {
			t.Errorf("%s: what was remembered has changed", tt.name)
		}
	}
}

// What a bridge has is learned while it is there, and kept when it is gone.
func TestLearnWhatABridgeHas(t *testing.T) {
	t.Parallel()
	l := bridgeLink("cni0")
	l.Promisc = true
	there := sight([]network.Link{l, port("veth1", "cni0", true)}, map[string][]string{"cni0": {"10.42.7.1/24"}})
	m := Learn(Memory{}, there)
	if m.MAC != bridgeMAC || !m.Promisc || !m.Ports["veth1"] {
		t.Errorf("learned %+v; want MAC, promisc and hairpin of veth1", m)
	}
	gone := sight([]network.Link{port("veth1", "", false)}, nil)
	if now := Learn(m, gone); !reflect.DeepEqual(now, m) {
		t.Errorf("when it is gone: %+v; want %+v", now, m)
	}
	other := l
	other.MAC, other.Promisc = network.MAC{2, 2, 2, 2, 2, 2}, false
	changed := sight([]network.Link{other, port("veth1", "cni0", false)}, nil)
	if now := Learn(m, changed); now.MAC != other.MAC || now.Promisc || now.Ports["veth1"] {
		t.Errorf("when an operator has changed it: %+v; want it as it is", now)
	}
}

func TestWant(t *testing.T) {
	t.Parallel()
	m := Memory{Name: "cni0", MAC: bridgeMAC, Promisc: true, Gateways: prefixes("10.42.3.1/24", "10.42.7.1/24", "fd00:7::1/64"),
		Ports: map[string]bool{"veth1": true, "veth2": false}}
	lone := m
	lone.Ports = nil
	v4 := m
	v4.Gateways = prefixes("10.42.7.1/24")
	small := port("veth2", "cni0", false)
	small.MTU = 1300
	tiny := small
	tiny.MTU = 576
	for _, tt := range []struct {
		name  string
		m     Memory
		links []network.Link
		mtu   int
		addrs []string
		ports []string
	}{
		{"as it is", m, []network.Link{bridgeLink("cni0"), port("veth1", "cni0", true), port("veth2", "", true)}, 1450,
			[]string{"10.42.3.1/24", "10.42.7.1/24", "fd00:7::1/64", "fe80::858:aff:fe2a:701/64"}, []string{"veth1", "veth2"}},
		{"gone: ports come later", m, []network.Link{port("veth1", "", false)}, 1450,
			[]string{"10.42.3.1/24", "10.42.7.1/24", "fd00:7::1/64", "fe80::858:aff:fe2a:701/64"}, nil},
		{"no pods: no earlier gateway", lone, []network.Link{bridgeLink("cni0")}, 1450,
			[]string{"10.42.7.1/24", "fd00:7::1/64", "fe80::858:aff:fe2a:701/64"}, nil},
		{"an older, smaller pod", m, []network.Link{bridgeLink("cni0"), port("veth1", "cni0", true), small}, 1300,
			[]string{"10.42.3.1/24", "10.42.7.1/24", "fd00:7::1/64", "fe80::858:aff:fe2a:701/64"}, []string{"veth1", "veth2"}},
		{"one too small for IPv6", m, []network.Link{bridgeLink("cni0"), port("veth1", "cni0", true), tiny}, 1280,
			[]string{"10.42.3.1/24", "10.42.7.1/24", "fd00:7::1/64", "fe80::858:aff:fe2a:701/64"}, []string{"veth1", "veth2"}},
		{"IPv4 alone", v4, []network.Link{bridgeLink("cni0"), port("veth1", "cni0", true), tiny}, 576,
			[]string{"10.42.7.1/24"}, []string{"veth1", "veth2"}},
	} {
		s := sight(tt.links, nil)
		if len(tt.m.Gateways) == 1 {
			s.Gateways = tt.m.Gateways
		}
		got := tt.m.Want(s, 1450)
		l := got.Links["cni0"]
		if l.MTU != tt.mtu || l.MAC != bridgeMAC || !l.Up || !l.Promisc {
			t.Errorf("%s: bridge = %+v; want MTU %d, its MAC, up, promiscuous", tt.name, l, tt.mtu)
		}
		var addrs []netip.Prefix
		for a := range got.Addresses {
			addrs = append(addrs, a.Prefix)
		}
		slices.SortFunc(addrs, netip.Prefix.Compare)
		if !slices.Equal(addrs, prefixes(tt.addrs...)) {
			t.Errorf("%s: addresses = %v; want %v", tt.name, addrs, tt.addrs)
		}
		delete(got.Links, "cni0")
		if names := slices.Sorted(maps.Keys(got.Links)); !slices.Equal(names, tt.ports) {
			t.Errorf("%s: ports = %v; want %v", tt.name, names, tt.ports)
		}
		for _, p := range got.Links {
			if !p.Up || p.Master != "cni0" || p.Hairpin != tt.m.Ports[p.Name] || p.MTU != 0 || !p.MAC.IsZero() {
				t.Errorf("%s: port = %+v; want it up on cni0 with its hairpin mode, else as it is", tt.name, p)
			}
		}
		if _, forwards := got.Sysctls["net/ipv4/ip_forward"]; forwards || got.Sysctls["net/ipv6/conf/cni0/accept_ra"].Value != "0" {
			t.Errorf("%s: sysctls = %v; want the bridge's own", tt.name, got.Sysctls)
		}
	}
	if got := (Memory{}).Want(sight(nil, nil), 1450); !reflect.DeepEqual(got, network.NewState()) {
		t.Errorf("Want of no bridge = %+v; want nothing", got)
	}
}

// A bridge that is as it was last seen is left alone, whatever an operator has
// made of it.
func TestWantChangesNothing(t *testing.T) {
	t.Parallel()
	l := bridgeLink("cni0")
	l.Master, l.MAC = "vrf0", network.MAC{2, 2, 2, 2, 2, 2}
	p := port("veth1", "cni0", true)
	p.Promisc = true
	s := sight([]network.Link{l, p}, map[string][]string{"cni0": {"10.42.7.1/24", "fd00:7::1/64", "fe80::1/64", "192.0.2.1/32"}})
	want := Learn(Memory{}, s).Want(s, 1450)
	have := network.NewState()
	have.Links, have.Sysctls = s.Links, want.Sysctls
	for _, a := range s.Addresses {
		if _, ours := want.Addresses[a]; ours {
			have.Addresses[a] = a
		}
	}
	if ch := network.Compare(have, want); ch.Len() != 0 {
		t.Errorf("changes = %+v; want none", ch)
	}
}
