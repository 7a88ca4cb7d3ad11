// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/percale-net/percale/network"
)

func (n node) linkIndex(t *testing.T, name string) int32 {
	t.Helper()
	i, err := n.index(name)
	if err != nil {
		t.Fatalf("index of %s: %v", name, err)
	}
	return i
}

func (n node) set(t *testing.T, l network.Link) error {
	t.Helper()
	return n.Apply(t.Context(), network.Changes{SetLinks: []network.Link{l}})
}

func TestVXLANChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		adopt  string // arguments of ip link add, in place of our own creation
		change func(l *network.Link)
		want   network.Change
	}{
		{name: "nothing", change: func(*network.Link) {}, want: network.Keep},
		{name: "MTU", change: func(l *network.Link) { l.MTU = 1300 }, want: network.Modify},
		{name: "MAC", change: func(l *network.Link) { l.MAC = mac(99) }, want: network.Modify},
		{name: "learning", change: func(l *network.Link) { l.VXLAN.Learning = true }, want: network.Modify},
		{name: "local", change: func(l *network.Link) { l.VXLAN.Local = netip.MustParseAddr("192.0.2.9") }, want: network.Modify},
		{name: "underlay", change: func(l *network.Link) { l.VXLAN.Underlay = "far0" }, want: network.Modify},
		{name: "down", change: func(l *network.Link) { l.Up = false }, want: network.Modify},
		{name: "all in place", change: func(l *network.Link) {
			*l = tunnel("flannel.1", 1, "192.0.2.7")
			l.MTU, l.MAC, l.VXLAN.Learning, l.VXLAN.Underlay = 1280, mac(7), true, "far0"
		}, want: network.Modify},
		{name: "VNI", change: func(l *network.Link) { l.VXLAN.VNI = 2 }, want: network.Recreate},
		{name: "port", change: func(l *network.Link) { l.VXLAN.Port = 4789 }, want: network.Recreate},
		{name: "GBP", change: func(l *network.Link) { l.VXLAN.GBP = true }, want: network.Recreate},
		{name: "family", change: func(l *network.Link) { l.VXLAN.Local = netip.MustParseAddr("2001:db8::1") }, want: network.Recreate},
		{name: "adopted", adopt: "flannel.1 type vxlan id 1 dev up0 local 192.0.2.1 dstport 8472 nolearning", change: func(*network.Link) {}, want: network.Modify},
		{name: "adopted learning", adopt: "flannel.1 type vxlan id 1 local 192.0.2.1 dstport 8472 srcport 40000 50000 ttl 5", change: func(*network.Link) {}, want: network.Modify},
		{name: "adopted without an address", adopt: "flannel.1 type vxlan id 1 dev up0 dstport 8472", change: func(*network.Link) {}, want: network.Modify},
		{name: "IPv6 wanted where none is", adopt: "flannel.1 type vxlan id 1 dstport 8472",
			change: func(l *network.Link) { l.VXLAN.Local = netip.MustParseAddr("2001:db8::1") }, want: network.Recreate},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			want := tunnel("flannel.1", 1, "192.0.2.1")
			if test.adopt != "" {
				n.ip(t, "link add "+test.adopt)
			} else if err := n.set(t, want); err != nil {
				t.Fatal(err)
			}
			before, writes := n.linkIndex(t, want.Name), n.Writes()
			test.change(&want)
			if err := n.set(t, want); err != nil {
				t.Fatal(err)
			}
			links, err := n.Links(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := links[want.Name]; got != want {
				t.Errorf("link = %+v; want %+v", got, want)
			}
			if same := n.linkIndex(t, want.Name) == before; same != (test.want != network.Recreate) {
				t.Errorf("same device = %v; want change %v", same, test.want)
			}
			if wrote := n.Writes() != writes; wrote != (test.want != network.Keep) {
				t.Errorf("wrote = %v; want change %v", wrote, test.want)
			}
			if d := n.ip(t, "-d link show flannel.1"); test.adopt != "" && strings.Contains(test.adopt, "ttl 5") && !strings.Contains(d, "ttl 5") {
				t.Errorf("adopting changed what was not wished: %s", d)
			}
		})
	}
}

func TestUnderlayNone(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	want := tunnel("flannel.1", 1, "192.0.2.1")
	for _, underlay := range []string{"", "up0", ""} {
		want.VXLAN.Underlay = underlay
		if err := n.set(t, want); err != nil {
			t.Fatalf("underlay %q: %v", underlay, err)
		}
		links, err := n.Links(t.Context())
		if got := links[want.Name]; err != nil || got != want {
			t.Errorf("underlay %q: link = %+v, %v; want %+v", underlay, got, err, want)
		}
	}
}

func TestNewTunnelAsFlannelMakesIt(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := n.set(t, tunnel("flannel.1", 1, "192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	got := n.ip(t, "-d link show flannel.1")
	for _, part := range []string{
		"vxlan id 1 local 192.0.2.1 dev up0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx",
		"mtu 1400", mac(1).String(),
	} {
		if !strings.Contains(got, part) {
			t.Errorf("ip -d link = %s; want %q in it", got, part)
		}
	}
}

func TestLinkErrors(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ip(t, "link add vx0 type vxlan id 1 dev up0 local 192.0.2.1 dstport 8472")
	n.ip(t, "link add taken type bridge")
	ours := tunnel("flannel.2", 2, "192.0.2.1")
	if err := n.set(t, ours); err != nil {
		t.Fatal(err)
	}
	kept := n.linkIndex(t, "flannel.2")
	toVNI1 := ours
	toVNI1.VXLAN.VNI = 1
	moved, movedAnew := ours, ours // as when the uplink is renamed, or gone
	moved.VXLAN.Underlay, moved.MTU = "eth9", 1350
	movedAnew.VXLAN.Underlay, movedAnew.VXLAN.Port = "eth9", 4789
	tooLarge := tunnel("flannel.3", 3, "192.0.2.1")
	tooLarge.MTU = 1500
	for _, test := range []struct {
		name, want string
		link       network.Link
	}{
		{"conflict", "set link flannel.1: vxlan id 1 port 8472 is already held by vx0: ip link del vx0", tunnel("flannel.1", 1, "192.0.2.1")},
		{"conflict after a change", "vxlan id 1 port 8472 is already held by vx0: ip link del vx0", toVNI1},
		{"other kind", `set link taken: it exists as kind "bridge", wanted "vxlan": ip link del taken`, tunnel("taken", 9, "192.0.2.1")},
		{"no veth", "set link veth9: it does not exist", network.Link{Name: "veth9", Kind: network.KindVeth}},
		{"no device", "set link eth9: it does not exist", network.Link{Name: "eth9"}},
		{"no master", "link cni9 does not exist", network.Link{Name: "up0", Kind: network.KindVeth, Up: true, Master: "cni9"}},
		{"no underlay", "link eth9 does not exist", network.Link{Name: "v", Kind: network.KindVXLAN, VXLAN: network.VXLAN{VNI: 5, Port: 1, Underlay: "eth9"}}},
		{"underlay gone", "set link flannel.2: link eth9 does not exist", moved},
		{"underlay gone, and another port", "set link flannel.2: link eth9 does not exist", movedAnew},
		{"MTU beyond the underlay's", "set link flannel.3: mtu: ", tooLarge},
		{"long name", "set link flannel.16777215: ", tunnel("flannel.16777215", 16777215, "192.0.2.1")},
	} {
		err := n.set(t, test.link)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error = %v; want %q", test.name, err, test.want)
		}
	}
	if n.linkIndex(t, "flannel.2") != kept {
		t.Error("a device was deleted although its replacement cannot be made")
	}
	if links, err := n.Links(t.Context()); err != nil || links["flannel.2"].MTU != moved.MTU {
		t.Errorf("MTU = %d, %v; want %d, which needs no underlay", links["flannel.2"].MTU, err, moved.MTU)
	}
	n.linkIndex(t, "taken")
}

func TestBridgeAndPorts(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	bridge := network.Link{Name: "zbr0", Kind: network.KindBridge, MTU: 1450, MAC: mac(5), Up: true, Promisc: true}
	port := network.Link{Name: "far0", Kind: network.KindVeth, MTU: 1450, MAC: mac(6), Up: true, Master: "zbr0", Hairpin: true}
	want := network.NewState()
	want.Links[bridge.Name], want.Links[port.Name] = bridge, port // the port sorts first
	n.reach(t, Scope{}, want)
	port.Hairpin = false
	want.Links[port.Name] = port
	n.reach(t, Scope{}, want)
	port.Master, bridge.Promisc = "", false
	want.Links[bridge.Name], want.Links[port.Name] = bridge, port
	n.reach(t, Scope{}, want)
}

func TestAddVeth(t *testing.T) {
	t.Parallel()
	host, pod := newNode(t), newNode(t)
	host.ip(t, "link add cni0 type bridge")
	aEnd := network.Link{Name: "veth1", Kind: network.KindVeth, MTU: 1450, MAC: mac(1), Up: true, Master: "cni0", Hairpin: true}
	bEnd := network.Link{Name: "eth0", Kind: network.KindVeth, MTU: 1450, MAC: mac(2), Up: true}
	if err := AddVeth(host.Conn, aEnd, pod.Conn, bEnd); err != nil {
		t.Fatal(err)
	}
	for _, end := range []struct {
		n    node
		want network.Link
	}{{host, aEnd}, {pod, bEnd}} {
		links, err := end.n.Links(t.Context())
		if got := links[end.want.Name]; err != nil || got != end.want {
			t.Errorf("link = %+v, %v; want %+v", got, err, end.want)
		}
	}
	if err := AddVeth(host.Conn, network.Link{Name: "a"}, host.Conn, network.Link{Name: "b"}); err != nil {
		t.Errorf("both ends in one namespace: %v", err)
	}
	for range 2 {
		if err := host.DelLink(t.Context(), "veth1"); err != nil {
			t.Error(err)
		}
	}
	if links, err := pod.Links(t.Context()); err != nil || links["eth0"].Name != "" {
		t.Errorf("peer of a deleted link = %+v, %v; want none", links["eth0"], err)
	}
}

func TestAddVethLeavesNothing(t *testing.T) {
	t.Parallel()
	host, pod := newNode(t), newNode(t)
	free, taken := network.Link{Name: "veth1", Up: true}, network.Link{Name: "up0"}
	noMaster, badMTU := free, network.Link{Name: "eth0", MTU: 1 << 20}
	noMaster.Master = "cni9"
	hairpinWithoutMaster := free
	hairpinWithoutMaster.Hairpin = true
	for _, test := range []struct {
		name string
		a, b network.Link
	}{
		{"name in use here", taken, network.Link{Name: "eth0"}},
		{"name in use there", free, taken},
		{"no master", noMaster, network.Link{Name: "eth0"}},
		{"no master there", free, network.Link{Name: "eth0", Master: "cni9"}},
		{"MTU", free, badMTU},
		{"hairpin without master", hairpinWithoutMaster, network.Link{Name: "eth0"}},
	} {
		if err := AddVeth(host.Conn, test.a, pod.Conn, test.b); err == nil {
			t.Errorf("%s: no error", test.name)
		}
		for _, n := range []node{host, pod} {
			links, err := n.Links(t.Context())
			if err != nil || len(links) != 3 {
				t.Errorf("%s: links = %v, %v; want lo, up0 and far0 alone", test.name, links, err)
			}
		}
	}
}
