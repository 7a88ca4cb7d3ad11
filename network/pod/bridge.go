// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"net/netip"

	"github.com/percale-net/percale/network"
)

// A Bridge is the switch on the node that its pods are plugged into.
type Bridge struct {
	Name     string
	MTU      int            // bytes; of the bridge and of every pod
	Gateways []netip.Prefix // its own addresses, through which pods leave; at most one per family
	Hairpin  bool           // a pod reaches itself through a service
	Promisc  bool           // the bridge itself takes every frame
	IPv6     bool           // the kernel has IPv6, used or not
}

// State returns what the node's namespace must hold for b: the bridge, its
// addresses, and forwarding for the families that it is the gateway of.
func (b Bridge) State() network.State {
	s := network.NewState()
	l := network.Link{Name: b.Name, Kind: network.KindBridge, MTU: b.MTU, Up: true, Promisc: b.Promisc}
	if len(b.Gateways) > 0 {
		// Without a MAC of its own a bridge takes the lowest of its ports',
		// and changes it as pods come and go.
		l.MAC = MAC(b.Gateways[0].Addr())
	}
	s.Links[b.Name] = l
	if b.IPv6 { // or a pod could tell the node its way to the world (CVE-2020-10749)
		sysctl(s, "net/ipv6/conf/"+b.Name+"/accept_ra", "0")
	}
	for _, g := range b.Gateways {
		a := network.Address{Link: b.Name, Prefix: g}
		s.Addresses[a] = a
		if g.Addr().Is4() {
			sysctl(s, "net/ipv4/ip_forward", "1")
			continue
		}
		sysctl(s, "net/ipv6/conf/"+b.Name+"/disable_ipv6", "0")
		// The node finds pods from the bridge's link-local address, which need
		// not wait up to two seconds to learn that no pod has it.
		sysctl(s, "net/ipv6/conf/"+b.Name+"/accept_dad", "0")
		sysctl(s, "net/ipv6/conf/all/forwarding", "1")
	}
	return s
}

// Adopt returns what to make of a bridge that is there already: its MAC, which
// pods have in their caches, and what an operator gave it stay as they are. So
// does an MTU that is smaller, for pods that are there already: see
// Memory.Want.
func (b Bridge) Adopt(have network.Link) network.Link {
	want := b.State().Links[b.Name]
	want.MAC = have.MAC
	want.Master, want.Hairpin = have.Master, have.Hairpin
	want.Promisc = want.Promisc || have.Promisc
	if least := leastMTU(b.Gateways); have.MTU < want.MTU && have.MTU >= least {
		want.MTU = have.MTU
	}
	return want
}

// Foreign returns those of the bridge's addresses that stand in the way of its
// gateways: in a family whose gateway is not among them, all. Pods of another
// subnet may still use them.
func (b Bridge) Foreign(have map[network.Address]network.Address) []network.Address {
	var foreign []network.Address
	for _, g := range b.Gateways {
		if _, ok := have[network.Address{Link: b.Name, Prefix: g}]; ok {
			continue
		}
		for _, a := range have {
			if a.Link == b.Name && a.Prefix.Addr().Is4() == g.Addr().Is4() {
				foreign = append(foreign, a)
			}
		}
	}
	return foreign
}

// Port returns the node's end of the veth pair of an attachment.
func (b Bridge) Port(a Attachment) network.Link {
	name, mac := HostEnd(a.Container, a.Ifname)
	return network.Link{
		Name: name, Kind: network.KindVeth, MTU: b.MTU, MAC: mac, Up: true,
		Master: b.Name, Hairpin: b.Hairpin,
	}
}

func sysctl(s network.State, path, value string) {
	s.Sysctls[path] = network.Sysctl{Path: path, Value: value}
}
