// SPDX-License-Identifier: Apache-2.0

package network

import "net/netip"

// An Uplink is the underlay as this node sees it: the link that carries
// packets to peers, and our addresses on it.
type Uplink struct {
	Name   string
	MTU    int            // bytes
	V4, V6 netip.Addr     // our address of each family; zero: none
	OnLink []netip.Prefix // destinations reached on the link without a gateway
	Why    string         // one sentence: why this link was taken
}

// Reaches reports whether addr is on the uplink's own segment, so that a
// packet gets there without a router.
func (u Uplink) Reaches(addr netip.Addr) bool {
	for _, p := range u.OnLink {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
