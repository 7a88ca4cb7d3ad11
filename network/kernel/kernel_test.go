// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
)

// A node is a namespace of its own with an underlay link "up0" (a veth end,
// MTU 1500, 192.0.2.1/24 and 2001:db8::1/64) and a Conn.
type node struct {
	*Conn
	ns netns.NS
}

func newNode(tb testing.TB) node {
	tb.Helper()
	ns := netns.Temp(tb)
	c, err := Open(ns.Path())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	n := node{c, ns}
	n.ip(tb, "link add up0 mtu 1500 type veth peer name far0")
	n.ip(tb, "link set up0 up")
	n.ip(tb, "link set far0 up")
	n.ip(tb, "addr add 192.0.2.1/24 dev up0")
	n.ip(tb, "addr add 2001:db8::1/64 dev up0 nodad")
	return n
}

func (n node) run(tb testing.TB, tool, args string) string {
	tb.Helper()
	out, err := n.ns.Output(tool, strings.Fields(args)...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func (n node) ip(tb testing.TB, args string) string {
	tb.Helper()
	return n.run(tb, "ip", args)
}

func (n node) read(tb testing.TB, s Scope) network.State {
	tb.Helper()
	st, err := n.Read(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

// reach applies what turns the kernel's state within s into want, and fails
// unless nothing is left to do then.
func (n node) reach(tb testing.TB, s Scope, want network.State) network.Changes {
	tb.Helper()
	done := network.Compare(n.read(tb, s), want)
	if err := n.Apply(tb.Context(), done); err != nil {
		tb.Fatal(err)
	}
	if left := network.Compare(n.read(tb, s), want); left.Len() != 0 {
		tb.Fatalf("after Apply there is still to do: %+v", left)
	}
	return done
}

// mac returns the i-th of many MAC addresses.
func mac(i int) network.MAC {
	return network.MAC{0x0e, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
}

// tunnel is a VXLAN device over up0.
func tunnel(name string, vni int, local string) network.Link {
	return network.Link{
		Name: name, Kind: network.KindVXLAN, MTU: 1400, MAC: mac(vni), Up: true,
		VXLAN: network.VXLAN{VNI: vni, Port: 8472, Local: netip.MustParseAddr(local), Underlay: "up0"},
	}
}

// peers adds n peers on flannel.1 to a wish, of each family that is asked for.
func peers(s network.State, n int, v4, v6 bool) {
	for i := 1; i <= n; i++ {
		f := network.Forward{Link: "flannel.1", MAC: mac(i), Dst: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})}
		s.Forwards[f.Key()] = f
		var subnets []netip.Prefix
		if v4 {
			subnets = append(subnets, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))
		}
		if v6 {
			a := netip.MustParseAddr("fd00::").As16()
			a[6], a[7] = byte(i>>8), byte(i)
			subnets = append(subnets, netip.PrefixFrom(netip.AddrFrom16(a), 64))
		}
		for _, p := range subnets {
			nb := network.Neighbor{Link: "flannel.1", IP: p.Addr(), MAC: mac(i)}
			s.Neighbors[nb.Key()] = nb
			r := network.Route{Dst: p, Via: p.Addr(), Link: "flannel.1", Onlink: true, Metric: uint32(i), Protocol: network.Protocol}
			s.Routes[r.Key()] = r
		}
	}
}

// overlay is a wish with a tunnel, its addresses and n peers of both families.
func overlay(n int) network.State {
	s := network.NewState()
	l := tunnel("flannel.1", 1, "192.0.2.1")
	s.Links[l.Name] = l
	for _, p := range []string{"10.0.0.0/32", "fd00::/128"} {
		a := network.Address{Link: l.Name, Prefix: netip.MustParsePrefix(p)}
		s.Addresses[a] = a
	}
	peers(s, n, true, true)
	return s
}

var scope = Scope{
	Devices:  []string{"flannel.1"},
	Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, local := range []string{"192.0.2.1", "2001:db8::1"} {
		t.Run(local, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			want := overlay(20)
			l := tunnel("flannel.1", 1, local)
			want.Links[l.Name] = l
			if !l.VXLAN.Local.Is4() {
				for k, f := range want.Forwards {
					f.Dst = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", f.MAC[5]))
					want.Forwards[k] = f
				}
			}
			n.reach(t, scope, want)
			got := n.read(t, scope)
			got.Links = map[string]network.Link{l.Name: got.Links[l.Name]}
			if c := network.Compare(want, got); c.Len() != 0 {
				t.Errorf("read back differs by %+v", c)
			}
			before := n.Writes()
			n.reach(t, scope, want)
			if n.Writes() != before {
				t.Errorf("a second Apply wrote %d times; want 0", n.Writes()-before)
			}
		})
	}
}
