// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// node is a State with one entry of each kind.
func node() State {
	s := NewState()
	l := Link{
		Name: "flannel.1", Kind: KindVXLAN, MTU: 1450, MAC: MAC{2, 0, 0, 0, 0, 1}, Up: true,
		VXLAN: VXLAN{VNI: 1, Port: 8472, Local: netip.MustParseAddr("192.0.2.1"), Underlay: "eth0"},
	}
	a := Address{Link: l.Name, Prefix: netip.MustParsePrefix("10.42.1.0/32")}
	y := Sysctl{"net/ipv4/ip_forward", "1"}
	r := Route{Dst: netip.MustParsePrefix("10.42.2.0/24"), Via: netip.MustParseAddr("10.42.2.0"), Link: l.Name, Onlink: true, Metric: 3, Protocol: Protocol}
	n := Neighbor{Link: l.Name, IP: r.Via, MAC: MAC{2, 0, 0, 0, 0, 2}}
	f := Forward{Link: l.Name, MAC: n.MAC, Dst: netip.MustParseAddr("192.0.2.2")}
	s.Links[l.Name], s.Addresses[a], s.Sysctls[y.Path] = l, a, y
	s.Routes[r.Key()], s.Neighbors[n.Key()], s.Forwards[f.Key()] = r, n, f
	return s
}

// change lets edit have its way with each value of a map, which keeps its keys.
func change[K, V comparable](m map[K]V, edit func(*V)) {
	for k, v := range m {
		edit(&v)
		m[k] = v
	}
}

func TestUndone(t *testing.T) {
	for _, tt := range []struct {
		name string
		undo func(*State)
		want []string // kind, cause, the entry, what was found
	}{
		{"nothing", func(*State) {}, nil},
		{"link deleted", func(s *State) { clear(s.Links) }, []string{`link missing: link flannel.1, ""`}},
		{"link changed", func(s *State) {
			change(s.Links, func(l *Link) { l.MTU, l.Up, l.VXLAN.Learning = 900, false, true })
		}, []string{`link changed: link flannel.1, "down, mtu 900, learning on"`}},
		{"link re-plugged", func(s *State) {
			change(s.Links, func(l *Link) {
				l.MAC, l.Master, l.Hairpin, l.Promisc = MAC{2, 2}, "br0", true, true
				l.VXLAN = VXLAN{VNI: 2, Port: 4789, Local: netip.MustParseAddr("192.0.2.9"), GBP: true}
			})
		}, []string{`link changed: link flannel.1, "address 02:02:00:00:00:00, master br0, hairpin on, promisc on, ` +
			`vxlan id 2, dstport 4789, local 192.0.2.9, vxlan dev none, gbp on"`}},
		{"another device", func(s *State) { change(s.Links, func(l *Link) { *l = Link{Name: l.Name, Kind: "dummy"} }) },
			[]string{`link changed: link flannel.1, "a device of kind dummy"`}},
		{"address deleted", func(s *State) { clear(s.Addresses) }, []string{`address missing: address 10.42.1.0/32 dev flannel.1, ""`}},
		{"address added", func(s *State) {
			a := Address{Link: "flannel.1", Prefix: netip.MustParsePrefix("10.9.9.9/32")}
			s.Addresses[a] = a
		}, []string{`address foreign: address 10.9.9.9/32 dev flannel.1, ""`}},
		{"sysctl", func(s *State) { change(s.Sysctls, func(y *Sysctl) { y.Value = "0" }) },
			[]string{`sysctl changed: sysctl net/ipv4/ip_forward, "0"`}},
		{"sysctl gone", func(s *State) { clear(s.Sysctls) }, []string{`sysctl missing: sysctl net/ipv4/ip_forward, ""`}},
		{"route deleted", func(s *State) { clear(s.Routes) }, []string{`route missing: route 10.42.2.0/24, ""`}},
		{"route changed", func(s *State) { change(s.Routes, func(r *Route) { r.Via = netip.MustParseAddr("10.42.9.9") }) },
			[]string{`route changed: route 10.42.2.0/24, "via 10.42.9.9 dev flannel.1 proto 112"`}},
		{"route in its place", func(s *State) {
			change(s.Routes, func(r *Route) {
				r.Via, r.Link, r.Onlink, r.Protocol = netip.MustParseAddr("192.0.2.7"), "eth0", false, 12
			})
			s.Routes, s.Others = s.Others, s.Routes
		}, []string{`route changed: route 10.42.2.0/24, "via 192.0.2.7 dev eth0 proto bird (12)"`}},
		{"route added", func(s *State) {
			r := Route{Dst: netip.MustParsePrefix("10.42.2.0/24"), Blackhole: true, Protocol: 4}
			s.Routes[r.Key()] = r
		}, []string{`route foreign: route 10.42.2.0/24, "blackhole proto static (4)"`}},
		{"odd route", func(s *State) { change(s.Routes, func(r *Route) { r.Via = netip.Addr{} }) },
			[]string{`route changed: route 10.42.2.0/24, "several or special next hops dev flannel.1 proto 112"`}},
		{"neighbor deleted", func(s *State) { clear(s.Neighbors) }, []string{`neighbor missing: neighbor 10.42.2.0 dev flannel.1, ""`}},
		{"neighbor changed", func(s *State) { change(s.Neighbors, func(n *Neighbor) { n.MAC[5] = 9 }) },
			[]string{`neighbor changed: neighbor 10.42.2.0 dev flannel.1, "lladdr 02:00:00:00:00:09"`}},
		{"FDB entry deleted", func(s *State) { clear(s.Forwards) }, []string{`fdb missing: FDB entry 02:00:00:00:00:02 dev flannel.1, ""`}},
		{"FDB entry changed", func(s *State) { change(s.Forwards, func(f *Forward) { f.Dst = netip.MustParseAddr("192.0.2.9") }) },
			[]string{`fdb changed: FDB entry 02:00:00:00:00:02 dev flannel.1, "dst 192.0.2.9"`}},
		{"FDB entry added, another changed", func(s *State) {
			change(s.Forwards, func(f *Forward) { f.Dst = netip.Addr{} })
			f := Forward{Link: "flannel.1", MAC: MAC{4}, Dst: netip.MustParseAddr("192.0.2.9")}
			s.Forwards[f.Key()] = f
		}, []string{`fdb changed: FDB entry 02:00:00:00:00:02 dev flannel.1, "no single destination"`,
			`fdb foreign: FDB entry 04:00:00:00:00:00 dev flannel.1, "dst 192.0.2.9"`}},
	} {
		have := node()
		tt.undo(&have)
		undone, counts := Compare(have, node()).Undone(have, 3)
		var got []string
		for _, u := range undone {
			got = append(got, fmt.Sprintf("%s %s: %s, %q", u.Kind, u.Cause, u, u.Found))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: Undone = %q; want %q", tt.name, got, tt.want)
		}
		if len(counts) != len(tt.want) {
			t.Errorf("%s: counts = %v; want one for each of %q", tt.name, counts, tt.want)
		}
	}
}

// All that was undone is counted, and little of it named.
func TestUndoneIsBounded(t *testing.T) {
	have, want := node(), node()
	for i := range 1000 {
		r := Route{Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), Link: "flannel.1", Metric: 7}
		want.Routes[r.Key()] = r
		if i < 400 {
			r.Protocol = 12
			have.Routes[r.Key()] = r
		}
	}
	undone, counts := Compare(have, want).Undone(have, 3)
	wantCounts := []UndoneCount{{RouteEntry, Changed, 400}, {RouteEntry, Missing, 600}}
	if len(undone) != 6 || !slices.Equal(counts, wantCounts) {
		t.Errorf("%d are named, counts = %v; want 6, %v", len(undone), counts, wantCounts)
	}
	if got := counts[1].String(); got != "600 routes missing" {
		t.Errorf("in words: %q", got)
	}
}

func TestWordsOfKinds(t *testing.T) {
	for _, tt := range []struct {
		count UndoneCount
		want  string
	}{
		{UndoneCount{ForwardEntry, Foreign, 1}, "1 FDB entry foreign"},
		{UndoneCount{ForwardEntry, Missing, 2}, "2 FDB entries missing"},
		{UndoneCount{AddressEntry, Missing, 2}, "2 addresses missing"},
		{UndoneCount{LinkEntry, Changed, 1}, "1 link changed"},
		{UndoneCount{RulesEntry, Missing, 1}, "1 firewall part missing"},
		{UndoneCount{RulesEntry, Missing, 3}, "3 firewall parts missing"},
	} {
		if got := tt.count.String(); got != tt.want {
			t.Errorf("%+v in words: %q; want %q", tt.count, got, tt.want)
		}
	}
	if got := (Undone{Kind: RulesEntry, Name: "chain forward"}).String(); got != "firewall chain forward" {
		t.Errorf("a chain is called %q", got)
	}
}
