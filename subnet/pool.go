// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"math"
	"net/netip"
)

// Contains reports whether s may be taken from the pool: it has the pool's
// length, no host bits, and lies from Min to Max.
func (p Pool) Contains(s netip.Prefix) bool {
	return p.Enabled() && s.IsValid() && s.Bits() == p.Len && s == s.Masked() &&
		s.Addr().BitLen() == p.Network.Addr().BitLen() && p.Network.Contains(s.Addr()) &&
		p.Min.Compare(s.Addr()) <= 0 && s.Addr().Compare(p.Max) <= 0
}

// Index returns the position of s in the network, counted from 1: distinct for
// distinct subnets of one length, and never 0, so that it serves as a route
// metric. Where a position of an IPv6 subnet exceeds 32 bits, it is folded and
// two subnets may share it.
func (p Pool) Index(s netip.Prefix) uint32 {
	n := p.position(s).add(offset{0, 1})
	folded := n.hi ^ n.lo
	if n.hi != 0 || n.lo > math.MaxUint32 {
		folded ^= folded >> 32
	}
	return max(uint32(folded), 1)
}

// Size returns how many subnets the pool has from Min to Max, at most
// math.MaxUint64.
func (p Pool) Size() uint64 {
	if !p.Enabled() || p.Max.Less(p.Min) {
		return 0
	}
	n := numberOf(p.Max).sub(numberOf(p.Min)).shr(p.hostBits()).add(offset{0, 1})
	if n.hi != 0 {
		return math.MaxUint64
	}
	return n.lo
}

// position returns where s lies in the network, in subnets of its own length,
// counted from 0.
func (p Pool) position(s netip.Prefix) offset {
	from := numberOf(s.Addr()).sub(numberOf(p.Network.Addr()))
	return from.shr(s.Addr().BitLen() - s.Bits())
}

// at returns the subnet at a position counted from 0, and false if it may not
// be taken.
func (p Pool) at(position offset) (netip.Prefix, bool) {
	if !p.Enabled() {
		return netip.Prefix{}, false
	}
	base := p.Network.Addr()
	start := position.shl(p.hostBits())
	if start.shr(p.hostBits()) != position {
		return netip.Prefix{}, false
	}
	s := netip.PrefixFrom(numberOf(base).add(start).addr(base), p.Len)
	return s, p.Contains(s)
}

// hostBits returns how many bits of an address are left to the pods of a node.
func (p Pool) hostBits() int { return p.Network.Addr().BitLen() - p.Len }
