// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/firewall"
)

const (
	peer, peer6         = "192.0.2.2", "2001:db8::2" // 10.244.2.0/24, fd00:2::/64
	other, other6       = "192.0.2.3", "2001:db8::3" // 10.244.3.0/24 and 10.244.8.0/26, fd00:3::/64
	stranger, stranger6 = "192.0.2.66", "2001:db8::66"
	self, self6         = "192.0.2.1", "2001:db8::1"
)

func rules() firewall.Tunnel {
	return firewall.Tunnel{Port: 8472, VNI: 1,
		V4: firewall.PodNetwork{Network: netip.MustParsePrefix("10.244.0.0/16"), Node: 24},
		V6: firewall.PodNetwork{Network: netip.MustParsePrefix("fd00::/16"), Node: 64},
	}
}

func origins(pairs ...string) map[firewall.Origin]bool {
	all := make(map[firewall.Origin]bool)
	for i := 0; i < len(pairs); i += 2 {
		all[firewall.Origin{Peer: netip.MustParseAddr(pairs[i]), Pods: netip.MustParsePrefix(pairs[i+1])}] = true
	}
	return all
}

func peers() map[firewall.Origin]bool {
	return origins(peer, "10.244.2.0/24", peer, peer+"/32", peer6, "fd00:2::/64", peer6, peer6+"/128",
		other, "10.244.3.0/24", other, "10.244.8.0/26", other6, "fd00:3::/64")
}

// A border is a node with a tunnel of both families towards a host that can send
// from any address: peers, and the outside.
type border struct {
	node   netns.NS
	wire   *host
	mac    network.MAC // of the node's uplink
	inside [2]int      // sockets at the tunnel devices
}

var vtep = [2]network.MAC{{0x02, 1, 1, 1, 1, 4}, {0x02, 1, 1, 1, 1, 6}}

func newBorder(t testing.TB) *border {
	t.Helper()
	b := &border{node: netns.Temp(t), wire: newHost(t, network.MAC{2, 0, 0, 0, 0, 9}), mac: network.MAC{2, 0, 0, 0, 0, 1}}
	batch(t, b.node, fmt.Sprintf("link add up0 address %s type veth peer name eth0 address %s netns %s", b.mac, b.wire.mac, b.wire.ns.Name()),
		"link set up0 up", "addr add "+self+"/24 dev up0", "addr add "+self6+"/64 dev up0 nodad",
		"link add flannel.1 address "+vtep[0].String()+" type vxlan id 1 local "+self+" dev up0 dstport 8472 nolearning",
		"link add flannel-v6.1 address "+vtep[1].String()+" type vxlan id 1 local "+self6+" dev up0 dstport 8472 nolearning",
		"link add blue.2 address "+vtep[0].String()+" type vxlan id 2 local "+self+" dev up0 dstport 8472 nolearning",
		"link set flannel.1 up", "link set flannel-v6.1 up", "link set blue.2 up")
	batch(t, b.wire.ns, "link set eth0 up")
	ready(t, b.node, "up0")
	ready(t, b.wire.ns, "eth0")
	b.wire.listen(t, "eth0")
	b.inside = [2]int{packetSocket(t, b.node, "flannel.1"), packetSocket(t, b.node, "flannel-v6.1")}
	return b
}

// A packet is one that comes in through the tunnel.
type packet struct {
	name         string
	outer, inner string
	edit         func(tunnel []byte) []byte // what lies behind the UDP header
}

func (p packet) frame(b *border, token string) []byte {
	to, dst, mac, kind := self, "10.244.1.5", vtep[0], uint16(unix.ETH_P_IP)
	if netip.MustParseAddr(p.outer).Is6() {
		to, mac = self6, vtep[1]
	}
	if netip.MustParseAddr(p.inner).Is6() {
		dst, kind = "fd00:1::5", unix.ETH_P_IPV6
	}
	vxlan := append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, ether(mac, network.MAC{2, 2, 2, 2, 2, 2}, kind, ip(p.inner, dst, unix.IPPROTO_UDP, udp(9, 9, token)))...)
	if p.edit != nil {
		vxlan = p.edit(vxlan)
	}
	outer := uint16(unix.ETH_P_IP)
	if netip.MustParseAddr(p.outer).Is6() {
		outer = unix.ETH_P_IPV6
	}
	return ether(b.mac, b.wire.mac, outer, ip(p.outer, to, unix.IPPROTO_UDP, udp(40000, 8472, string(vxlan))))
}

func badPackets() []packet {
	tag := func(v []byte) []byte { // VLAN 7 within
		return slices.Concat(v[:20], []byte{0x81, 0, 0, 7}, v[20:])
	}
	return []packet{
		{"of a stranger", stranger, "10.244.2.7", nil},
		{"of a stranger, IPv6", stranger6, "fd00:2::7", nil},
		{"of a stranger, from its own address", stranger, stranger, nil},
		{"of a peer, from another peer's subnet", peer, "10.244.3.7", nil},
		{"of a peer, from another peer's subnet, IPv6", peer6, "fd00:3::7", nil},
		{"of a peer, from our own subnet", peer, "10.244.1.7", nil},
		{"of a peer, from the outside", peer, "8.8.8.8", nil},
		{"of a peer, from another peer's address", peer, other, nil},
		{"of a peer, outside of its small subnet", other, "10.244.8.64", nil},
		{"of a peer, IPv6 in IPv4", peer, "fd00:2::7", nil},
		{"of a peer, in a VLAN", peer, "10.244.2.7", tag},
	}
}

func goodPackets() []packet {
	return []packet{
		{"of a peer", peer, "10.244.2.7", nil},
		{"of a peer's node", peer, "10.244.2.0", nil},
		{"of a peer's node, from its uplink", peer, peer, nil},
		{"of a peer, IPv6", peer6, "fd00:2::7", nil},
		{"of a peer's node, from its uplink, IPv6", peer6, peer6, nil},
		{"of another peer", other, "10.244.3.255", nil},
		{"of another peer's second subnet", other, "10.244.8.63", nil},
	}
}

// sendAll sends packets and returns the names of those that came out of the
// tunnel.
func (b *border) sendAll(t *testing.T, g *Tunnel, packets []packet) map[string]bool {
	t.Helper()
	came := make(map[string]bool)
	for i, p := range packets {
		token := fmt.Sprintf("<token %03d>", i)
		came[p.name] = fate{
			send:    func() { b.wire.send(t, p.frame(b, token)) },
			arrived: func() bool { return received(t, b.inside[0], token)+received(t, b.inside[1], token) > 0 },
			dropped: func() uint64 { return b.refusals(t, g).Tunnel },
		}.seen(t, p.name)
	}
	return came
}

func (b *border) refusals(t *testing.T, g *Tunnel) (r Refusals) {
	t.Helper()
	do(t, b.node, func() (err error) {
		r, err = g.Refusals()
		return err
	})
	return r
}

func (b *border) sync(t testing.TB, g *Tunnel, want map[firewall.Origin]bool, keep bool) (changed []string) {
	t.Helper()
	do(t, b.node, func() (err error) {
		changed, err = g.Sync(rules(), want, keep)
		return err
	})
	return changed
}

func TestTunnelAttacks(t *testing.T) {
	t.Parallel()
	b, g := newBorder(t), NewTunnel("percale")
	all := append(badPackets(), goodPackets()...)
	for name, came := range b.sendAll(t, g, all) {
		if !came {
			t.Errorf("without guard: %s did not arrive", name)
		}
	}
	b.sync(t, g, peers(), false)
	got := b.sendAll(t, g, all)
	for _, p := range badPackets() {
		if got[p.name] {
			t.Errorf("%s arrived; want it dropped", p.name)
		}
	}
	for _, p := range goodPackets() {
		if !got[p.name] {
			t.Errorf("%s did not arrive", p.name)
		}
	}
	r := b.refusals(t, g)
	if !slices.ContainsFunc(r.Strangers, func(s Stranger) bool {
		return s.From.String() == stranger && s.Inner.String() == "10.244.2.7" && s.Packets > 0 && s.Ago < refusedFor/2
	}) {
		t.Errorf("strangers = %v; want %s as 10.244.2.7 just now among them", r.Strangers, stranger)
	}
	do(t, b.node, func() error {
		was, err := g.Clear()
		if err == nil && !was {
			t.Error("Clear found no table")
		}
		return err
	})
	for name, came := range b.sendAll(t, g, all) {
		if !came {
			t.Errorf("after Clear: %s did not arrive", name)
		}
	}
}

// TestTunnelOfOthers sends into a tunnel of another VNI on our port.
func TestTunnelOfOthers(t *testing.T) {
	t.Parallel()
	b, g := newBorder(t), NewTunnel("percale")
	b.sync(t, g, peers(), false)
	b.inside[1] = packetSocket(t, b.node, "blue.2")
	p := packet{"VNI 2", stranger, "10.9.9.9", func(v []byte) []byte { v[6] = 2; return v }}
	if !b.sendAll(t, g, []packet{p})[p.name] {
		t.Error("a packet of VNI 2 did not arrive")
	}
}

func TestTunnelSync(t *testing.T) {
	t.Parallel()
	b, g := newBorder(t), NewTunnel("percale")
	b.sync(t, g, peers(), false)
	if changed := b.sync(t, NewTunnel("percale"), peers(), false); changed != nil {
		t.Errorf("Sync again, without memory = %q; want no change", changed)
	}
	holds := func() map[firewall.Origin]bool {
		t.Helper()
		all := make(map[firewall.Origin]bool)
		do(t, b.node, func() error {
			c, err := dial()
			if err != nil {
				return err
			}
			defer c.CloseLasting()
			return g.known(c, all)
		})
		return all
	}
	want := func(what string, origins map[firewall.Origin]bool) {
		t.Helper()
		if got := holds(); !maps.Equal(got, origins) {
			t.Errorf("%s: the kernel takes packets of %v; want %v", what, got, origins)
		}
		if changed := b.sync(t, NewTunnel("percale"), origins, false); changed != nil {
			t.Errorf("%s: Sync without memory = %q; want no change", what, changed)
		}
	}
	want("at first", peers())
	more := origins("192.0.2.9", "10.244.9.0/24", "192.0.2.9", "10.244.10.0/25")
	both := maps.Clone(peers())
	maps.Copy(both, more)
	do(t, b.node, func() error { return g.Admit(rules(), more) }) // a new length: rules change
	want("after Admit of a new length", both)
	again := origins("192.0.2.10", "10.244.11.0/24")
	maps.Copy(both, again)
	b.sync(t, g, both, false)
	do(t, b.node, func() error { return g.Admit(rules(), again) })
	want("after Admit", both)
	b.sync(t, NewTunnel("percale"), again, true)
	want("after Sync that keeps", both)
	b.sync(t, g, again, false)
	want("after all but one went", again)

	spoil := func(what string, fn func(c *nft.Conn, t *tunnel)) {
		t.Helper()
		do(t, b.node, func() error {
			c, err := dial()
			if err != nil {
				return err
			}
			defer c.CloseLasting()
			fn(c, newTunnel("percale-tunnel", rules(), again))
			return c.Flush()
		})
		if changed := b.sync(t, g, again, false); len(changed) == 0 {
			t.Errorf("%s: Sync found nothing", what)
		}
		want(what, again)
	}
	spoil("table deleted", func(c *nft.Conn, t *tunnel) { c.DelTable(t.Table) })
	spoil("chain flushed", func(c *nft.Conn, t *tunnel) { c.FlushChain(t.chains[0].Chain) })
	spoil("base chain flushed", func(c *nft.Conn, t *tunnel) { c.FlushChain(t.chains[1].Chain) })
	spoil("set flushed", func(c *nft.Conn, t *tunnel) { c.FlushSet(t.sets[0].Set) })
	spoil("set of others", func(c *nft.Conn, t *tunnel) {
		s := newTable("percale-tunnel", nft.TableFamilyINet).set("x", nft.TypeIPAddr)
		if err := c.AddSet(s.Set, nil); err != nil {
			panic(err)
		}
	})
	spoil("rule of others", func(c *nft.Conn, t *tunnel) {
		c.InsertRule(&nft.Rule{Table: t.Table, Chain: t.chains[0].Chain, Exprs: accept()})
	})
}

func TestTunnelOfPods(t *testing.T) {
	t.Parallel()
	// A node between its pods and other nodes.
	node, pods, out := netns.Temp(t), newHost(t, macA), newHost(t, macB)
	batch(t, node, "link add pods address "+macNode.String()+" type veth peer name eth0 address "+macA.String()+" netns "+pods.ns.Name(),
		"link add out type veth peer name eth0 address "+macB.String()+" netns "+out.ns.Name(),
		"link set pods up", "link set out up", "addr add 10.244.1.1/24 dev pods", "addr add fd00:1::1/64 dev pods nodad",
		"addr add 192.0.2.1/24 dev out", "addr add 2001:db8::1/64 dev out nodad",
		"neigh add 192.0.2.2 lladdr "+macB.String()+" dev out", "neigh add 2001:db8::2 lladdr "+macB.String()+" dev out",
		"route add 10.244.0.0/16 via 192.0.2.2", "route add fd00::/16 via 2001:db8::2")
	do(t, node, func() error { return forwarding() })
	batch(t, pods.ns, "link set eth0 up")
	batch(t, out.ns, "link set eth0 up")
	ready(t, node, "pods", "out")
	ready(t, pods.ns, "eth0")
	pods.listen(t, "eth0")
	out.listen(t, "eth0")
	type way struct {
		name, src, dst string
		port           uint16
		passes         bool
	}
	ways := []way{
		{"to a node", "10.244.1.5", peer, 8472, false},
		{"to a node, IPv6", "fd00:1::5", peer6, 8472, false},
		{"to a node's address in the pod network", "10.244.1.5", "10.244.2.1", 8472, false},
		{"to a node's tunnel device", "10.244.1.5", "10.244.2.0", 8472, false},
		{"to a node's address in the pod network, IPv6", "fd00:1::5", "fd00:2::1", 8472, false},
		{"to a pod", "10.244.1.5", "10.244.2.7", 8472, true},
		{"to a pod, IPv6", "fd00:1::5", "fd00:2::7", 8472, true},
		{"to a node, another port", "10.244.1.5", peer, 8473, true},
	}
	g := NewTunnel("percale")
	passes := func(i int) bool {
		w, token, kind := ways[i], fmt.Sprintf("<way %03d>", i), uint16(unix.ETH_P_IP)
		if netip.MustParseAddr(w.src).Is6() {
			kind = unix.ETH_P_IPV6
		}
		packet := ip(w.src, w.dst, unix.IPPROTO_UDP, udp(9, w.port, token))
		return fate{
			send:    func() { pods.send(t, ether(macNode, macA, kind, packet)) },
			arrived: func() bool { return received(t, out.fd, token) > 0 },
			dropped: func() (n uint64) {
				do(t, node, func() error {
					r, err := g.Refusals()
					n = r.Pods
					return err
				})
				return n
			},
		}.seen(t, w.name)
	}
	for i, w := range ways {
		if !passes(i) {
			t.Errorf("without guard: %s did not arrive", w.name)
		}
	}
	do(t, node, func() error { _, err := g.Sync(rules(), peers(), false); return err })
	for i, w := range ways {
		if got := passes(i); got != w.passes {
			t.Errorf("%s arrived: %v; want %v", w.name, got, w.passes)
		}
	}
}

// TestTunnelWithoutPeers has the first peer come and the last one go: neither
// changes a rule, which would look like somebody else's doing.
func TestTunnelWithoutPeers(t *testing.T) {
	t.Parallel()
	b, g := newBorder(t), NewTunnel("percale")
	b.sync(t, g, nil, false)
	do(t, b.node, func() error {
		return g.Admit(rules(), origins(peer, "10.244.2.0/24", peer, peer+"/32", peer6, "fd00:2::/64", peer6, peer6+"/128"))
	})
	changed := b.sync(t, g, nil, false)
	if i := slices.IndexFunc(changed, func(c string) bool { return !strings.HasSuffix(c, "not wanted") }); len(changed) == 0 || i >= 0 {
		t.Errorf("without the last peer: %q; want elements alone, not wanted", changed)
	}
}
