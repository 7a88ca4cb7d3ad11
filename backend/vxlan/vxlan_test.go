// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

var (
	pool4 = subnet.Pool{
		Network: netip.MustParsePrefix("10.42.0.0/16"), Len: 24,
		Min: netip.MustParseAddr("10.42.1.0"), Max: netip.MustParseAddr("10.42.255.0"),
	}
	pool6 = subnet.Pool{
		Network: netip.MustParsePrefix("fd42::/48"), Len: 64,
		Min: netip.MustParseAddr("fd42:0:0:1::"), Max: netip.MustParseAddr("fd42:0:0:ffff::"),
	}
	uplink = network.Uplink{
		Name: "eth0", MTU: 1500,
		V4: netip.MustParseAddr("192.0.2.1"), V6: netip.MustParseAddr("2001:db8::1"),
		OnLink: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")},
	}
)

func self(b Backend, v4, v6 bool) backend.Self {
	s := backend.Self{Node: "n1", Uplink: uplink}
	if v4 {
		s.Pools.V4 = pool4
		s.Lease.V4 = subnet.Endpoint{Subnet: netip.MustParsePrefix("10.42.1.0/24"), Uplink: uplink.V4}
	}
	if v6 {
		s.Pools.V6 = pool6
		s.Lease.V6 = subnet.Endpoint{Subnet: netip.MustParsePrefix("fd42:0:0:1::/64"), Uplink: uplink.V6}
	}
	s.Lease.V4.Data, s.Lease.V6.Data = b.Publish(s)
	return s
}

// peer returns the lease of node number n, at 192.0.2.n or, if far,
// 198.51.100.n.
func peer(n byte, far bool) subnet.Lease {
	up4, up6 := netip.AddrFrom4([4]byte{192, 0, 2, n}), netip.MustParseAddr("2001:db8::1").As16()
	if far {
		up4, up6[7] = netip.AddrFrom4([4]byte{198, 51, 100, n}), 7
	}
	up6[15] = n
	base6 := pool6.Network.Addr().As16()
	base6[7] = n
	mac := network.MAC{2, 0, 0, 0, 0, n}
	mac6 := network.MAC{2, 0, 0, 0, 6, n}
	return subnet.Lease{
		Node: "n" + string('0'+n), Backend: Name,
		V4: subnet.Endpoint{
			Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, n, 0}), 24), Uplink: up4, Data: VTEP{1, mac}.String(),
		},
		V6: subnet.Endpoint{
			Subnet: netip.PrefixFrom(netip.AddrFrom16(base6), 64), Uplink: netip.AddrFrom16(up6), Data: VTEP{1, mac6}.String(),
		},
	}
}

func TestDevices(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	s := self(b, true, true)
	got, err := b.Devices(s)
	if err != nil {
		t.Fatal(err)
	}
	v4 := network.Link{
		Name: "flannel.1", Kind: network.KindVXLAN, MTU: 1450, MAC: DeriveMAC("n1", 1, false), Up: true,
		VXLAN: network.VXLAN{VNI: 1, Port: 8472, Local: uplink.V4, Underlay: "eth0"},
	}
	v6 := v4
	v6.Name, v6.MTU, v6.MAC, v6.VXLAN.Local = "flannel-v6.1", 1430, DeriveMAC("n1", 1, true), uplink.V6
	if want := map[string]network.Link{v4.Name: v4, v6.Name: v6}; !reflect.DeepEqual(got.Links, want) {
		t.Errorf("links = %+v\nwant %+v", got.Links, want)
	}
	a4 := network.Address{Link: "flannel.1", Prefix: netip.MustParsePrefix("10.42.1.0/32")}
	a6 := network.Address{Link: "flannel-v6.1", Prefix: netip.MustParsePrefix("fd42:0:0:1::/128")}
	if want := map[network.Address]network.Address{a4: a4, a6: a6}; !reflect.DeepEqual(got.Addresses, want) {
		t.Errorf("addresses = %v; want %v", got.Addresses, want)
	}
	if mtu := b.PodMTU(s); mtu != 1430 {
		t.Errorf("pod MTU in dual stack = %d; want the smaller one, 1430", mtu)
	}
	if mtu := b.PodMTU(self(b, true, false)); mtu != 1450 {
		t.Errorf("pod MTU over IPv4 = %d; want 1450", mtu)
	}
	jumbo := s
	jumbo.Uplink.MTU = 9216
	if mtu := (Backend{VNI: 1, Port: 8472, MTU: 9000}).PodMTU(jumbo); mtu != 8930 {
		t.Errorf("pod MTU with an underlay of 9000 = %d; want 8930", mtu)
	}
	if _, err := (Backend{VNI: 1, Port: 8472, MTU: 9000}).Devices(s); err == nil || !strings.Contains(err.Error(), "eth0 carries 1500") {
		t.Errorf("an MTU of 9000 on an uplink of 1500: %v; want an error that names both", err)
	}
}

func TestDeviceIsAdoptedForWhatItIs(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	s := self(b, true, true)
	vx := func(name string, vni, port int, local netip.Addr) network.Link {
		return network.Link{Name: name, Kind: network.KindVXLAN, VXLAN: network.VXLAN{VNI: vni, Port: port, Local: local}}
	}
	tests := []struct {
		name  string
		links []network.Link
		want  string
	}{
		{"none", nil, "flannel.1"},
		{"another name", []network.Link{vx("vxlan0", 1, 8472, uplink.V4)}, "vxlan0"},
		{"another local address", []network.Link{vx("vxlan0", 1, 8472, netip.MustParseAddr("203.0.113.9"))}, "vxlan0"},
		{"another VNI", []network.Link{vx("vxlan0", 2, 8472, uplink.V4)}, "flannel.1"},
		{"another port", []network.Link{vx("vxlan0", 1, 4789, uplink.V4)}, "flannel.1"},
		{"the other family's", []network.Link{vx("vxlan0", 1, 8472, uplink.V6)}, "flannel.1"},
		{"both names fit: ours", []network.Link{vx("a", 1, 8472, uplink.V4), vx("flannel.1", 1, 8472, uplink.V4)}, "flannel.1"},
	}
	for _, tt := range tests {
		s.Links = map[string]network.Link{}
		for _, l := range tt.links {
			s.Links[l.Name] = l
		}
		got, err := b.Devices(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := got.Links[tt.want]; !ok {
			t.Errorf("%s: devices %v; want %s among them", tt.name, got.Links, tt.want)
		}
	}
}

func TestNamesFitTheKernel(t *testing.T) {
	for vni, want := range map[int][4]string{
		1:        {"flannel.1", "flannel-v6.1", "percale.1", "percale6.1"},
		9999:     {"flannel.9999", "flannel-v6.9999", "percale.9999", "percale6.9999"},
		10000:    {"flannel.10000", "fl6.10000", "percale.10000", "percale6.10000"},
		16777215: {"fl.16777215", "fl6.16777215", "pc.16777215", "pc6.16777215"},
	} {
		got := [4]string{usualName(vni, false), usualName(vni, true), spareName(vni, false), spareName(vni, true)}
		if got != want || len(slices.MaxFunc(got[:], func(a, b string) int { return len(a) - len(b) })) > maxName {
			t.Errorf("names for VNI %d = %q; want %q", vni, got, want)
		}
	}
}

func TestNameTakenByAStranger(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	s := self(b, true, true)
	vx := func(name string, vni, port int, local netip.Addr) network.Link {
		return network.Link{Name: name, Kind: network.KindVXLAN, VXLAN: network.VXLAN{VNI: vni, Port: port, Local: local}}
	}
	bridge := network.Link{Name: "flannel.1", Kind: network.KindBridge}
	for _, tt := range []struct {
		name  string
		links []network.Link
		want  string // of the IPv4 device
		note  string // "": none
	}{
		{"a bridge", []network.Link{bridge}, "percale.1", "flannel.1 is of kind bridge and not ours; the overlay device is percale.1"},
		{"hardware", []network.Link{{Name: "flannel.1"}}, "percale.1", "flannel.1 is a device of another kind and not ours; the overlay device is percale.1"},
		{"another VNI", []network.Link{vx("flannel.1", 7, 8472, uplink.V4)}, "percale.1", "flannel.1 is a vxlan with VNI 7 and not ours; the overlay device is percale.1"},
		{"our IPv6 device", []network.Link{vx("flannel.1", 1, 8472, uplink.V6)}, "percale.1",
			"flannel.1 is the vxlan of the other address family and not ours; the overlay device is percale.1"},
		{"the stranger went", []network.Link{vx("percale.1", 1, 8472, uplink.V4)}, "percale.1", ""},
		{"adopted beside it", []network.Link{bridge, vx("vxlan0", 1, 8472, uplink.V4)}, "vxlan0",
			"flannel.1 is of kind bridge and not ours; the overlay device is vxlan0"},
		{"another port: made anew", []network.Link{vx("flannel.1", 1, 4789, uplink.V4)}, "flannel.1", ""},
		{"no local address: made anew", []network.Link{vx("flannel.1", 1, 8472, netip.Addr{})}, "flannel.1", ""},
		{"both names taken", []network.Link{bridge, vx("percale.1", 7, 8472, uplink.V4)}, "", ""},
	} {
		s.Links = map[string]network.Link{}
		for _, l := range tt.links {
			s.Links[l.Name] = l
		}
		got, err := b.Devices(s)
		if tt.want == "" {
			if err == nil || !strings.Contains(err.Error(), "percale.1") {
				t.Errorf("%s: devices %v, %v; want an error that names percale.1", tt.name, got.Links, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if l, ok := got.Links[tt.want]; !ok || l.VXLAN.Local != uplink.V4 || len(got.Links) != 2 {
			t.Errorf("%s: devices %v; want %s for IPv4, and one for IPv6", tt.name, got.Links, tt.want)
		}
		if notes := strings.Join(b.Notes(s), "; "); notes != tt.note {
			t.Errorf("%s: notes %q; want %q", tt.name, notes, tt.note)
		}
		if e, err := b.Peer(s, peer(3, true)); err != nil || e.Routes[0].Link != tt.want {
			t.Errorf("%s: a peer's routes are %v, %v; want %s", tt.name, e.Routes, err, tt.want)
		}
	}
}

func TestMACIsKeptOrDerived(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	s := self(b, true, false)
	published := network.MAC{0x26, 0x1b, 1, 2, 3, 4}
	for _, tt := range []struct {
		name, data string
		want       network.MAC
	}{
		{"published", VTEP{1, published}.String(), published},
		{"published without VNI", `{"VtepMAC":"26:1b:01:02:03:04"}`, published},
		{"published for another VNI", VTEP{7, published}.String(), DeriveMAC("n1", 1, false)},
		{"nothing published", "", DeriveMAC("n1", 1, false)},
		{"nonsense published", `{"VtepMAC":"ff:ff:ff:ff:ff:ff"}`, DeriveMAC("n1", 1, false)},
	} {
		s.Lease.V4.Data = tt.data
		v4, _ := b.Publish(s)
		if want := (VTEP{1, tt.want}).String(); v4 != want {
			t.Errorf("%s: Publish = %s; want %s", tt.name, v4, want)
		}
	}
	if m := DeriveMAC("n1", 1, false); m != DeriveMAC("n1", 1, false) || m.IsGroup() || m[0]&2 == 0 {
		t.Errorf("derived MAC %s is not one local unicast address", m)
	}
	if DeriveMAC("n1", 1, false) == DeriveMAC("n2", 1, false) || DeriveMAC("n1", 1, false) == DeriveMAC("n1", 2, false) {
		t.Error("two nodes or two VNIs have one MAC")
	}
}

func TestPeerByTunnel(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	got, err := b.Peer(self(b, true, true), peer(7, false))
	if err != nil {
		t.Fatal(err)
	}
	p := peer(7, false)
	want := backend.Entries{
		Forwards: []network.Forward{
			{Link: "flannel.1", MAC: network.MAC{2, 0, 0, 0, 0, 7}, Dst: p.V4.Uplink},
			{Link: "flannel-v6.1", MAC: network.MAC{2, 0, 0, 0, 6, 7}, Dst: p.V6.Uplink},
		},
		Neighbors: []network.Neighbor{
			{Link: "flannel.1", IP: p.V4.Subnet.Addr(), MAC: network.MAC{2, 0, 0, 0, 0, 7}},
			{Link: "flannel-v6.1", IP: p.V6.Subnet.Addr(), MAC: network.MAC{2, 0, 0, 0, 6, 7}},
		},
		Routes: []network.Route{
			{Dst: p.V4.Subnet, Via: p.V4.Subnet.Addr(), Link: "flannel.1", Onlink: true, Metric: 8, Protocol: 112},
			{Dst: p.V6.Subnet, Via: p.V6.Subnet.Addr(), Link: "flannel-v6.1", Onlink: true, Metric: 8, Protocol: 112},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Peer = %+v\nwant %+v", got, want)
	}
}

func TestPeerDirectOnlyOnTheSegment(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472, DirectRouting: true}
	near, far := peer(7, false), peer(8, true)
	got, err := b.Peer(self(b, true, true), near)
	want := backend.Entries{Routes: []network.Route{
		{Dst: near.V4.Subnet, Via: near.V4.Uplink, Link: "eth0", Metric: 8, Protocol: 112},
		{Dst: near.V6.Subnet, Via: near.V6.Uplink, Link: "eth0", Metric: 8, Protocol: 112},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("near peer = %+v, %v\nwant %+v", got, err, want)
	}
	got, err = b.Peer(self(b, true, true), far)
	if err != nil || len(got.Forwards) != 2 || got.Routes[0].Link != "flannel.1" {
		t.Errorf("far peer = %+v, %v; want the tunnel", got, err)
	}
}

func TestPeerIsRefusedWithTheReason(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	tests := []struct {
		name string
		edit func(*subnet.Lease)
		want string // in the error
		left int    // routes that stay
	}{
		{"other backend", func(l *subnet.Lease) { l.Backend = "host-gw" }, `"host-gw"`, 0},
		{"no backend", func(l *subnet.Lease) { l.Backend = "" }, `""`, 0},
		{"no data in one family", func(l *subnet.Lease) { l.V4.Data = "" }, "no backend data", 1},
		{"not JSON", func(l *subnet.Lease) { l.V6.Data = "{" }, "JSON", 1},
		{"bad MAC", func(l *subnet.Lease) { l.V4.Data = `{"VNI":1,"VtepMAC":"zz:00:00:00:00:00"}` }, "zz:00", 1},
		{"multicast MAC", func(l *subnet.Lease) { l.V4.Data = `{"VNI":1,"VtepMAC":"01:00:5e:00:00:01"}` }, "unicast", 1},
		{"zero MAC", func(l *subnet.Lease) { l.V4.Data = `{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}` }, "not zero", 1},
		{"other VNI", func(l *subnet.Lease) { l.V4.Data = VTEP{2, network.MAC{2}}.String() }, "VNI 2", 1},
		{"VNI out of range", func(l *subnet.Lease) { l.V4.Data = `{"VNI":-1,"VtepMAC":"02:00:00:00:00:07"}` }, "VNI -1", 1},
		{"huge", func(l *subnet.Lease) { l.V4.Data = strings.Repeat(" ", 2000) }, "2000 bytes", 1},
	}
	for _, tt := range tests {
		p := peer(7, false)
		tt.edit(&p)
		got, err := b.Peer(self(b, true, true), p)
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(got.Routes) != tt.left {
			t.Errorf("%s: Peer = %d routes, %v; want %d and an error with %q", tt.name, len(got.Routes), err, tt.left, tt.want)
		}
	}
}

func TestPlanIsOrderlessAndRefusesClonesAlone(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	s := self(b, true, false)
	var peers []subnet.Lease
	for n := byte(2); n < 10; n++ {
		peers = append(peers, peer(n, false))
	}
	peers[5].V4.Data = peers[1].V4.Data     // n7 is a clone of n3
	peers[6].V4.Data = s.Lease.V4.Data      // n8 is a clone of us
	peers[7].V4.Uplink = peers[0].V4.Uplink // n9 is what n2 was called once:
	peers[7].V4.Data = peers[0].V4.Data     // the same entry, no clash
	want, err := backend.MakePlan(b, s, peers)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Refused) != 2 || want.Refused[0].Node != "n7" || want.Refused[1].Node != "n8" {
		t.Errorf("refused %+v; want n7 and n8", want.Refused)
	}
	if len(want.State.Routes) != 6 || len(want.State.Forwards) != 5 {
		t.Errorf("%d routes, %d forwards; want 6, 5", len(want.State.Routes), len(want.State.Forwards))
	}
	for range 20 {
		rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		if got, err := backend.MakePlan(b, s, peers); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("shuffled peers give another plan: %+v, %v", got.Refused, err)
		}
	}
}

func TestPlanRefusesUplinksThatNoHostHas(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472, DirectRouting: true}
	s := self(b, true, false)
	s.Locals = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	for addr, want := range map[string]string{
		"192.0.2.255": "broadcast", "192.0.2.0": "network", "192.0.2.77": "an address of this node",
	} {
		bad := peer(3, false)
		bad.V4.Uplink = netip.MustParseAddr(addr)
		plan, err := backend.MakePlan(b, s, []subnet.Lease{peer(2, false), bad})
		if err != nil || len(plan.Peers) != 1 || len(plan.Refused) != 1 || !strings.Contains(plan.Refused[0].Reason, want) {
			t.Errorf("uplink %s: %d peers, refused %+v, %v; want n2 alone, and %q", addr, len(plan.Peers), plan.Refused, err, want)
		}
	}
}

func TestDevicesSayWhatIsWrong(t *testing.T) {
	b := Backend{VNI: 1, Port: 8472}
	noV6 := self(b, true, true)
	noV6.Uplink.V6 = netip.Addr{}
	small := self(b, true, true)
	small.Uplink.MTU = 1300
	for want, s := range map[string]backend.Self{"no IPv6 address": noV6, "IPv6 needs 1280": small} {
		if _, err := b.Devices(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Devices = %v; want an error with %q", err, want)
		}
	}
}

func FuzzParseVTEP(f *testing.F) {
	for _, s := range []string{
		`{"VNI":1,"VtepMAC":"26:1b:00:00:00:01"}`, `{"vtepmac":"26:1b:00:00:00:01"}`, "null", "", "{", `[]`, `{"VNI":1e99}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVTEP(s)
		if err != nil {
			return
		}
		if v.MAC.IsGroup() || v.MAC.IsZero() || v.VNI < 0 || v.VNI >= 1<<24 {
			t.Errorf("ParseVTEP(%q) took %+v", s, v)
		}
		if again, err := ParseVTEP(v.String()); err != nil || again != v {
			t.Errorf("%s reads back as %+v, %v", v, again, err)
		}
	})
}
