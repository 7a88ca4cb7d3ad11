// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"
	"slices"
)

// An Origin is a source that tunnel packets may have: the address of a peer's
// uplink, and the addresses that packets within may come from.
type Origin struct {
	Peer netip.Addr
	Pods netip.Prefix // masked, of the family of Peer
}

// A Tunnel says what tunnel packets are. It is comparable.
type Tunnel struct {
	Port   int // UDP
	VNI    int // packets of others are not ours to judge
	V4, V6 PodNetwork
}

// A PodNetwork is where pods are, in one family; from there no tunnel packets go
// to nodes. Zero: the family is off.
type PodNetwork struct {
	Network netip.Prefix // masked
	Node    int          // prefix length of a node's subnet
}

// Lengths returns the prefix lengths of the origins of one family, each once, in
// order. There are few: that of nodes' subnets and that of single addresses, which
// are there before and after any peer is, and seldom another.
func (t Tunnel) Lengths(origins map[Origin]bool, is6 bool) []int {
	var all []int
	for _, n := range [...]PodNetwork{t.V4, t.V6} {
		if n.Network.IsValid() && n.Network.Addr().Is6() == is6 {
			all = append(all, n.Node, n.Network.Addr().BitLen())
		}
	}
	for o := range origins {
		if o.Peer.Is6() == is6 {
			all = append(all, o.Pods.Bits())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
