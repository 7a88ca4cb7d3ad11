// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers. A key is loaded from the first on; each holds four bytes.
const (
	reg     = unix.NFT_REG32_00
	regName = 4 // registers that the name of a link takes
	regMAC  = 2 // a MAC takes, padded
)

// payload loads n bytes from an offset of a header.
func payload(to uint32, base expr.PayloadBase, offset, n uint32) expr.Any {
	return &expr.Payload{DestRegister: to, Base: base, Offset: offset, Len: n}
}

// equal compares the first register.
func equal(b ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: b} }

// meta matches packets by what the kernel knows of them.
func meta(k expr.MetaKey, b ...byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: k, Register: reg}, equal(b...)}
}

// header matches packets by the bytes at an offset of a header.
func header(base expr.PayloadBase, offset uint32, b ...byte) []expr.Any {
	return []expr.Any{payload(reg, base, offset, uint32(len(b))), equal(b...)}
}

// netHeader and l4Header match by the bytes of those headers.
func netHeader(offset uint32, b ...byte) []expr.Any {
	return header(expr.PayloadBaseNetworkHeader, offset, b...)
}

func l4Header(offset uint32, b ...byte) []expr.Any {
	return header(expr.PayloadBaseTransportHeader, offset, b...)
}

// between matches by one byte of the transport header, bounds included.
func between(offset uint32, least, most byte) []expr.Any {
	return []expr.Any{
		payload(reg, expr.PayloadBaseTransportHeader, offset, 1),
		&expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: []byte{least}},
		&expr.Cmp{Op: expr.CmpOpLte, Register: reg, Data: []byte{most}},
	}
}

func protocol(ethertype uint16) []expr.Any { return meta(expr.MetaKeyPROTOCOL, be16(ethertype)...) }

func l4(proto byte) []expr.Any { return meta(expr.MetaKeyL4PROTO, proto) }

// udpTo matches UDP packets to a port.
func udpTo(port uint16) []expr.Any {
	return append(l4(unix.IPPROTO_UDP), l4Header(2, be16(port)...)...)
}

// in matches where the key that was loaded is, or is not, an element.
func in(s *set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg, SetName: s.Name}}
}

func notIn(s *set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg, SetName: s.Name, Invert: true}}
}

func jump(c *chain) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: c.Name}}
}

func goTo(c *chain) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: c.Name}}
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

// drop counts what it drops.
func drop() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}
}

// learn adds the key that was loaded to s, and counts how often.
func learn(s *set) []expr.Any {
	return []expr.Any{&expr.Dynset{
		SrcRegKey: reg, SetName: s.Name, Operation: unix.NFT_DYNSET_OP_UPDATE, Exprs: []expr.Any{&expr.Counter{}},
	}}
}

// A version is what the two versions of IP differ in.
type version struct {
	name      string
	proto     byte   // NFPROTO_*
	ethertype uint16 // ETH_P_*
	src, dst  uint32 // offsets of the addresses in the header
	len       uint32 // of an address, in bytes
}

func ipv4() version { return version{"4", unix.NFPROTO_IPV4, unix.ETH_P_IP, 12, 16, 4} }

func ipv6() version { return version{"6", unix.NFPROTO_IPV6, unix.ETH_P_IPV6, 8, 24, 16} }

func versionOf(a netip.Addr) version {
	if a.Is4() {
		return ipv4()
	}
	return ipv6()
}

// is matches packets of the version, where a table is for both.
func (v version) is() []expr.Any { return meta(expr.MetaKeyNFPROTO, v.proto) }

// masked keeps of the bytes in a register those that p's length covers.
func masked(at uint32, p netip.Prefix) expr.Any {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return mask(at, m)
}

func mask(at uint32, m []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: at, DestRegister: at, Len: uint32(len(m)), Mask: m, Xor: make([]byte, len(m))}
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// linkName returns a name as the kernel keeps it.
func linkName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b[:unix.IFNAMSIZ-1], name)
	return b
}
