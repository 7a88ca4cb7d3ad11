// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/percale-net/percale/network"
)

func TestWireAndReadDevices(t *testing.T) {
	t.Parallel()
	host, pod := newNode(t), newNode(t)
	host.ip(t, "link add cni0 type bridge")
	pod.ip(t, "route add 203.0.113.0/24 dev up0")
	v := Veth{
		Here: host.Conn, End: network.Link{Name: "veth1", Kind: network.KindVeth, MTU: 1450, MAC: mac(1), Up: true, Master: "cni0", Hairpin: true},
		There: pod.Conn, Other: network.Link{Name: "eth0", Kind: network.KindVeth, MTU: 1450, MAC: mac(2)},
		Alias: "percale-cni pods abc eth0",
	}
	if err := v.Add(); err != nil {
		t.Fatal(err)
	}
	want := network.NewState()
	eth0 := v.Other
	eth0.Up = true
	want.Links["eth0"] = eth0
	for _, p := range []string{"10.42.7.2/24", "fd00:7::2/64"} {
		a := network.Address{Link: "eth0", Prefix: netip.MustParsePrefix(p)}
		want.Addresses[a] = a
	}
	for dst, via := range map[string]string{"198.51.100.0/24": "10.42.7.1", "203.0.113.0/24": "10.42.7.1"} {
		r := network.Route{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr(via), Link: "eth0", Protocol: network.Protocol}
		want.Routes[r.Key()] = r
	}
	want.Sysctls["net/ipv6/conf/eth0/accept_ra"] = network.Sysctl{Path: "net/ipv6/conf/eth0/accept_ra", Value: "0"}
	if err := pod.Wire("eth0", want); err != nil {
		t.Fatal(err)
	}
	got, err := pod.ReadDevices(t.Context(), Scope{Devices: []string{"eth0", "absent"}, Sysctls: slices.Collect(maps.Keys(want.Sysctls))})
	if err != nil || len(got.Links) != 1 || got.Links["eth0"] != eth0 || !maps.Equal(got.Addresses, want.Addresses) || !maps.Equal(got.Sysctls, want.Sysctls) {
		t.Errorf("ReadDevices = %+v, %v; want %+v", got, err, want)
	}
	all, err := pod.Read(t.Context(), Scope{Devices: []string{"eth0"}})
	if r := all.Routes; err != nil || len(r) != 1 || r[network.RouteKey{Dst: netip.MustParsePrefix("198.51.100.0/24")}].Link != "eth0" {
		t.Errorf("routes = %v, %v; want one, since another link has the other", r, err)
	}
	back, err := host.ReadDevices(t.Context(), Scope{Devices: []string{"veth1"}})
	if err != nil || back.Links["veth1"] != v.End {
		t.Errorf("node's end = %+v, %v; want %+v", back.Links["veth1"], err, v.End)
	}
}

func TestPortsAndAliases(t *testing.T) {
	t.Parallel()
	host := newNode(t)
	host.ip(t, "link add cni0 type bridge")
	host.ip(t, "link add p1 type veth peer name q1")
	host.ip(t, "link set p1 master cni0")
	host.ip(t, "link set q1 alias somebody")
	if got, err := host.Ports(t.Context(), "cni0"); err != nil || !slices.Equal(got, []string{"p1"}) {
		t.Errorf("Ports = %v, %v; want p1", got, err)
	}
	if got, err := host.Aliases(t.Context()); err != nil || !maps.Equal(got, map[string]string{"q1": "somebody"}) {
		t.Errorf("Aliases = %v, %v; want that of q1", got, err)
	}
	for name, want := range map[string]bool{"p1": true, "p2": false, "": false, "a-name-too-long-for-a-link": false} {
		if got, err := host.Has(name); err != nil || got != want {
			t.Errorf("Has(%q) = %v, %v; want %v", name, got, err, want)
		}
	}
}

// A link that is not there, and what the kernel refuses, are named.
func TestWireFails(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := n.Wire("absent", network.NewState()); err == nil {
		t.Error("Wire of an absent link succeeded; want an error")
	}
	want := network.NewState()
	want.Links["up0"] = network.Link{Name: "up0", Up: true}
	r := network.Route{Dst: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("203.0.113.1"), Link: "up0"}
	want.Routes[r.Key()] = r
	if err := n.Wire("up0", want); err == nil {
		t.Error("Wire with a gateway that is not reachable succeeded; want an error")
	}
}
