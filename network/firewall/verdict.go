// SPDX-License-Identifier: Apache-2.0

package firewall

import "net/netip"

// A Packet is what rules can see of a packet.
type Packet struct {
	Src, Dst netip.Addr // of one family
	Mark     uint32     // as set on this node; it does not travel
	UDPPort  uint16     // destination port; 0: not UDP
}

// Verdict returns what becomes of p at h. Each renderer must do the same to
// real packets.
func (r Ruleset) Verdict(h Hook, p Packet) Verdict {
	for _, c := range r.Chains {
		if c.Hook != h {
			continue
		}
		for _, rule := range c.Rules {
			if rule.Match.Matches(p) {
				return rule.Then
			}
		}
	}
	return Pass
}

// Matches reports whether p fulfils every condition of m.
func (m Match) Matches(p Packet) bool {
	return (m.Family == Any || m.Family == FamilyOf(p.Src)) &&
		m.Src.Matches(p.Src) && m.Dst.Matches(p.Dst) &&
		p.Mark&m.Mark.Mask == m.Mark.Value &&
		(m.UDPPort == 0 || m.UDPPort == p.UDPPort)
}

// Matches reports whether n matches a. An address of the other family is
// neither inside nor outside.
func (n Net) Matches(a netip.Addr) bool {
	if !n.Prefix.IsValid() {
		return true
	}
	return a.Is4() == n.Prefix.Addr().Is4() && n.Prefix.Contains(a) != n.Not
}
