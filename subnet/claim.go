// SPDX-License-Identifier: Apache-2.0

package subnet

import "net/netip"

// A Claim is what a node asks for.
type Claim struct {
	Node    string // as the cluster names it; never ""
	Backend string // type of the node's backend, to publish
	// V4 and V6 hold the uplink and the data to publish, and the subnet that
	// the node had last, if it is known: a preference.
	V4, V6 Endpoint
	// PodsLive says that pods live in the subnets that the node had last. Then
	// no others will do, while the network configuration allows these.
	PodsLive bool
	Pools    Pools // what the cluster leases; a family whose pool is off is not leased
	// Assigned are the subnets that the cluster gives to the node; zero where
	// nodes choose.
	Assigned Assigned
}

// ClaimOf returns the claim of the node that published own.
func ClaimOf(own Lease) Claim {
	return Claim{Node: own.Node, Backend: own.Backend, V4: own.V4, V6: own.V6}
}

// Mine reports whether l belongs to the node that makes the claim. A lease that
// bears a node name belongs to that node alone, even if our uplink is in it: a
// clone or a node behind the same NAT published it. One without a name, from
// flannel or an operator's reservation, belongs to the node whose uplink it
// publishes: the IPv4 one if it has any, else the IPv6 one. An absent or
// unspecified address equals none.
func Mine(c Claim, l Lease) bool {
	if l.Node != "" {
		return l.Node == c.Node
	}
	if published(l.V4.Uplink) {
		return l.V4.Uplink == c.V4.Uplink
	}
	return published(l.V6.Uplink) && l.V6.Uplink == c.V6.Uplink
}

// Reserved reports whether l is a reservation that no agent has taken yet: an
// operator wrote down whose the subnet is, and nobody can be reached there.
func (l Lease) Reserved() bool {
	return l.Node == "" && l.Backend == "" && l.V4.Data == "" && l.V6.Data == ""
}

// sameSubnets reports whether a and b lease the same subnets, so that a store
// keeps them in the same place.
func sameSubnets(a, b Lease) bool {
	return a.V4.Subnet == b.V4.Subnet && a.V6.Subnet == b.V6.Subnet
}

func published(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() }
