// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// An offset is the unsigned 128-bit number of an address, or the distance
// between two addresses. Arithmetic wraps.
type offset struct{ hi, lo uint64 }

// numberOf returns the number of a, which has 32 bits for IPv4.
func numberOf(a netip.Addr) offset {
	if a.Is4() {
		b := a.As4()
		return offset{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return offset{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// addr returns the address of that number in the family of like.
func (o offset) addr(like netip.Addr) netip.Addr {
	if like.Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(o.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], o.hi)
	binary.BigEndian.PutUint64(b[8:], o.lo)
	return netip.AddrFrom16(b)
}

func (o offset) add(p offset) offset {
	lo, carry := bits.Add64(o.lo, p.lo, 0)
	hi, _ := bits.Add64(o.hi, p.hi, carry)
	return offset{hi, lo}
}

func (o offset) sub(p offset) offset {
	lo, borrow := bits.Sub64(o.lo, p.lo, 0)
	hi, _ := bits.Sub64(o.hi, p.hi, borrow)
	return offset{hi, lo}
}

// shl and shr shift by n bits, 0 to 128. Go defines shifts by 64 and more as 0.
func (o offset) shl(n int) offset {
	if n >= 64 {
		return offset{o.lo << (n - 64), 0}
	}
	return offset{o.hi<<n | o.lo>>(64-n), o.lo << n}
}

func (o offset) shr(n int) offset {
	if n >= 64 {
		return offset{0, o.hi >> (n - 64)}
	}
	return offset{o.hi >> n, o.lo>>n | o.hi<<(64-n)}
}

// last returns the last address of p.
func last(p netip.Prefix) netip.Addr {
	size := offset{0, 1}.shl(p.Addr().BitLen() - p.Bits())
	return numberOf(p.Addr()).add(size).sub(offset{0, 1}).addr(p.Addr())
}
