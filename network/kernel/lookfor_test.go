// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"testing"

	"github.com/percale-net/percale/network"
)

// Of a link that is not ours only the addresses that are looked for are seen;
// all else on it survives.
func TestAddressesOnOtherLinks(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	const bridge = "cni0"
	for _, args := range []string{
		"link add cni0 address 0a:58:0a:2a:07:01 type bridge",
		"link set cni0 up",
		"link set far0 master cni0",
		"addr add 10.42.7.1/24 dev cni0",
		"addr add 192.0.2.77/32 dev cni0",
		"addr add 10.42.3.1/24 dev cni0",
		"route add 198.51.100.0/24 dev cni0",
		"neigh add 10.42.7.9 lladdr 02:00:00:00:00:09 dev cni0 nud permanent",
	} {
		n.ip(t, args)
	}
	n.run(t, "bridge", "fdb add 02:00:00:00:00:0a dev far0 master static")
	foreign := func() string {
		return n.ip(t, "route") + n.ip(t, "neigh show nud permanent") + n.run(t, "bridge", "fdb get 02:00:00:00:00:0a br cni0")
	}
	before := foreign()

	at := func(p string) network.Address {
		return network.Address{Link: bridge, Prefix: netip.MustParsePrefix(p)}
	}
	s := Scope{Addresses: []network.Address{at("10.42.7.1/24"), at("10.42.3.1/24"), at("fd00:7::1/64"), at("fe80::858:aff:fe2a:701/64")}}
	want := network.NewState()
	for _, p := range []string{"10.42.7.1/24", "fd00:7::1/64", "fe80::858:aff:fe2a:701/64"} {
		want.Addresses[at(p)] = at(p)
	}
	done := n.reach(t, s, want)
	if len(done.DelAddresses) != 1 || done.DelAddresses[0] != at("10.42.3.1/24") || done.Len() > 3 {
		t.Errorf("changes = %+v; want 10.42.3.1/24 deleted, and the IPv6 addresses set", done)
	}
	if got := n.ip(t, "-o addr show dev cni0 to 192.0.2.77/32"); got == "" {
		t.Error("an address that is not ours is gone")
	}
	n.ip(t, "addr add 10.42.3.1/24 dev cni0") // with its route, for the comparison
	if after := foreign(); after != before {
		t.Errorf("routes, neighbors and FDB entry of cni0 were\n%s\nand are\n%s", before, after)
	}

	n.ip(t, "link set cni0 down")
	n.ip(t, "addr flush dev cni0")
	want.Links[bridge] = network.Link{Name: bridge, Kind: network.KindBridge, Up: true}
	if done := n.reach(t, s, want); len(done.SetAddresses) != 3 || len(done.SetLinks) != 1 {
		t.Errorf("after down and flush: %+v; want the link and three addresses set", done)
	}
}
