// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"net/netip"

	"github.com/percale-net/percale/network"
)

// An Attachment is one interface of a container in the pod network.
type Attachment struct {
	Container string         // the runtime's id of the sandbox
	Ifname    string         // in the container
	MTU       int            // bytes
	MAC       network.MAC    // zero: of the first address
	Addresses []netip.Prefix // with the length of the subnet; at most one per family
	Routes    []network.Route
	IPv6      bool // the kernel has IPv6, used or not
}

// State returns what the pod's namespace must hold.
func (a Attachment) State() network.State {
	s := network.NewState()
	l := network.Link{Name: a.Ifname, Kind: network.KindVeth, MTU: a.MTU, MAC: a.MAC, Up: true}
	if l.MAC.IsZero() && len(a.Addresses) > 0 {
		l.MAC = MAC(a.Addresses[0].Addr())
	}
	s.Links[a.Ifname] = l
	if a.IPv6 { // another pod must not tell this one its way
		sysctl(s, "net/ipv6/conf/"+a.Ifname+"/accept_ra", "0")
	}
	for _, p := range a.Addresses {
		e := network.Address{Link: a.Ifname, Prefix: p}
		s.Addresses[e] = e
		if p.Addr().Is6() {
			sysctl(s, "net/ipv6/conf/"+a.Ifname+"/disable_ipv6", "0")
			// The addresses are ours by lease: the pod need not wait a second
			// to learn that nobody else has them.
			sysctl(s, "net/ipv6/conf/"+a.Ifname+"/accept_dad", "0")
		}
	}
	for _, r := range a.Routes {
		s.Routes[r.Key()] = r
	}
	return s
}
