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

// Unsendable says why no host can be at addr on the uplink's segment: it names
// the segment itself, or all hosts of it. "" if one can.
func (u Uplink) Unsendable(addr netip.Addr) string {
	for _, p := range u.OnLink {
		if !addr.Is4() || !p.Contains(addr) || p.Bits() > 30 || p.Bits() == 0 {
			continue
		}
		switch addr {
		case p.Masked().Addr():
			return "is the address of the network " + p.Masked().String() + ", not of a host"
		case broadcast(p):
			return "is the broadcast address of " + p.Masked().String()
		}
	}
	return ""
}

// broadcast returns the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
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
