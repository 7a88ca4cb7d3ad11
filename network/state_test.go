// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"slices"
	"testing"
)

func TestLinkChange(t *testing.T) {
	have := Link{
		Name: "flannel.1", Kind: KindVXLAN, MTU: 1450, MAC: MAC{2, 0, 0, 0, 0, 1}, Up: true,
		VXLAN: VXLAN{VNI: 1, Port: 8472, Local: netip.MustParseAddr("192.0.2.1"), Underlay: "eth0"},
	}
	tests := []struct {
		name string
		edit func(*Link)
		want Change
	}{
		{"same", func(*Link) {}, Keep},
		{"MTU and MAC left open", func(l *Link) { l.MTU, l.MAC = 0, MAC{} }, Keep},
		{"MTU", func(l *Link) { l.MTU = 1400 }, Modify},
		{"MAC", func(l *Link) { l.MAC[5] = 9 }, Modify},
		{"down", func(l *Link) { l.Up = false }, Modify},
		{"local address", func(l *Link) { l.VXLAN.Local = netip.MustParseAddr("192.0.2.9") }, Modify},
		{"underlay", func(l *Link) { l.VXLAN.Underlay = "eth1" }, Modify},
		{"learning", func(l *Link) { l.VXLAN.Learning = true }, Modify},
		{"VNI", func(l *Link) { l.VXLAN.VNI = 2 }, Recreate},
		{"port", func(l *Link) { l.VXLAN.Port = 4789 }, Recreate},
		{"GBP", func(l *Link) { l.VXLAN.GBP = true }, Recreate},
		{"family of the tunnel", func(l *Link) { l.VXLAN.Local = netip.MustParseAddr("2001:db8::1") }, Recreate},
		{"kind", func(l *Link) { l.Kind, l.VXLAN = KindBridge, VXLAN{} }, Recreate},
	}
	for _, tt := range tests {
		want := have
		tt.edit(&want)
		if got := LinkChange(have, want); got != tt.want {
			t.Errorf("%s: LinkChange = %v; want %v", tt.name, got, tt.want)
		}
	}
}

// A route that flannel made stands under another key than ours to the same
// peer, so it goes only after ours has come.
func TestCompareReplacesAStrangersRoute(t *testing.T) {
	dst, via := netip.MustParsePrefix("10.42.7.0/24"), netip.MustParseAddr("10.42.7.0")
	theirs := Route{Dst: dst, Via: via, Link: "flannel.1", Onlink: true, Protocol: 3}
	ours := Route{Dst: dst, Via: via, Link: "flannel.1", Onlink: true, Metric: 8, Protocol: Protocol}
	have, want := NewState(), NewState()
	have.Routes[theirs.Key()] = theirs
	want.Routes[ours.Key()] = ours
	c := Compare(have, want)
	if !slices.Equal(c.SetRoutes, []Route{ours}) || !slices.Equal(c.DelRoutes, []Route{theirs}) {
		t.Errorf("Compare = %+v; want ours set and theirs deleted", c)
	}
	if got, want := c.String(), "set 1 route; delete 1 route"; got != want {
		t.Errorf("String = %q; want %q", got, want)
	}
}

func TestCompareSetsWhatDiffersInValueAlone(t *testing.T) {
	mac := MAC{2, 0, 0, 0, 0, 1}
	old := Forward{Link: "flannel.1", MAC: mac, Dst: netip.MustParseAddr("192.0.2.1")}
	moved := Forward{Link: "flannel.1", MAC: mac, Dst: netip.MustParseAddr("192.0.2.2")}
	have, want := NewState(), NewState()
	have.Forwards[old.Key()] = old
	want.Forwards[moved.Key()] = moved
	c := Compare(have, want)
	if !slices.Equal(c.SetForwards, []Forward{moved}) || c.DelForwards != nil {
		t.Errorf("Compare = %+v; want the moved entry set and nothing deleted", c)
	}
}

func TestCompareOfEqualsIsEmpty(t *testing.T) {
	s := NewState()
	s.Links["a"] = Link{Name: "a", MTU: 1500, Up: true}
	a := Address{Link: "a", Prefix: netip.MustParsePrefix("10.0.0.0/32")}
	s.Addresses[a] = a
	s.Sysctls["net/ipv4/ip_forward"] = Sysctl{"net/ipv4/ip_forward", "1"}
	if c := Compare(s, s); c.Len() != 0 || c.String() != "" {
		t.Errorf("Compare of a state with itself = %+v; want nothing", c)
	}
}

// Forwarding on all interfaces makes the kernel drop the routes that an uplink
// learned from router advertisements, unless the uplink was told before.
func TestSysctlsForAllInterfacesComeLast(t *testing.T) {
	want := NewState()
	for _, path := range []string{"net/ipv6/conf/all/forwarding", "net/ipv6/conf/eth0/accept_ra", "net/ipv4/ip_forward"} {
		want.Sysctls[path] = Sysctl{path, "1"}
	}
	got := Compare(NewState(), want).SetSysctls
	if len(got) != 3 || got[2].Path != "net/ipv6/conf/all/forwarding" {
		t.Errorf("order = %v; want all/forwarding last", got)
	}
}

// Frames to unknown addresses may go to several endpoints; each is an entry.
func TestFloodingEntriesHaveKeysOfTheirOwn(t *testing.T) {
	a := Forward{Link: "x", Dst: netip.MustParseAddr("192.0.2.1")}
	b := Forward{Link: "x", Dst: netip.MustParseAddr("192.0.2.2")}
	if a.Key() == b.Key() {
		t.Error("two destinations of the all-zero MAC have one key; want two")
	}
	a.MAC, b.MAC = MAC{2}, MAC{2}
	if a.Key() != b.Key() {
		t.Error("two destinations of a unicast MAC have two keys; want one")
	}
}

func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"02:00:00:00:00:01", "FF:ff:00:aa:Bb:09", "", "02-00-00-00-00-01", "0:0:0:0:0:0:0:0:0", "02:00:00:00:00:0g"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			return
		}
		again, err := ParseMAC(m.String())
		if err != nil || again != m {
			t.Errorf("ParseMAC(%q) = %v, which reads back as %v, %v", s, m, again, err)
		}
	})
}
