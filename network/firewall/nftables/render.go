// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/binary"
	"net/netip"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// reg is the one register that our rules compute in.
const reg = unix.NFT_REG_1

// base returns the chain for a hook, of no table yet. Packets are marked as not tracked before
// connection tracking (priority -200) sees them.
func base(h firewall.Hook) *nft.Chain {
	accept := nft.ChainPolicyAccept
	c := nft.Chain{Name: h.String(), Type: nft.ChainTypeFilter, Policy: &accept}
	switch h {
	case firewall.Prerouting:
		c.Hooknum, c.Priority = nft.ChainHookPrerouting, nft.ChainPriorityRaw
	case firewall.Output:
		c.Hooknum, c.Priority = nft.ChainHookOutput, nft.ChainPriorityRaw
	case firewall.Forward:
		c.Hooknum, c.Priority = nft.ChainHookForward, nft.ChainPriorityFilter
	case firewall.Postrouting:
		c.Type, c.Hooknum, c.Priority = nft.ChainTypeNAT, nft.ChainHookPostrouting, nft.ChainPriorityNATSource
	}
	return &c
}

func (f *Firewall) nftTable() *nft.Table {
	return &nft.Table{Name: f.table, Family: nft.TableFamilyINet}
}

// comment returns what "nft list" shows behind a rule.
func comment(r firewall.Rule) []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.Why)
}

// exprs returns what the kernel evaluates for a rule, from left to right.
func exprs(r firewall.Rule) []expr.Any {
	m := r.Match
	e := family(m)
	if m.Mark != (firewall.Mark{}) {
		e = append(e, meta(expr.MetaKeyMARK), mask(native(m.Mark.Mask)), equal(native(m.Mark.Value)...))
	}
	e = append(e, address(m.Src, 12, 8)...)
	e = append(e, address(m.Dst, 16, 24)...)
	if m.UDPPort != 0 {
		e = append(e, meta(expr.MetaKeyL4PROTO), equal(unix.IPPROTO_UDP),
			payload(expr.PayloadBaseTransportHeader, 2, 2),
			equal(binary.BigEndian.AppendUint16(nil, m.UDPPort)...))
	}
	switch r.Then {
	case firewall.Pass:
		return append(e, &expr.Verdict{Kind: expr.VerdictReturn})
	case firewall.Accept:
		return append(e, &expr.Verdict{Kind: expr.VerdictAccept})
	case firewall.Masquerade:
		return append(e, &expr.Masq{FullyRandom: r.Random})
	case firewall.Untrack:
		return append(e, &expr.Notrack{})
	}
	panic("nftables: no such verdict: " + r.Then.String())
}

// family asks for the family that m is for: a table for both cannot tell where
// an address stands in a packet before it knows that.
func family(m firewall.Match) []expr.Any {
	switch m.Only() {
	case firewall.IPv4:
		return []expr.Any{meta(expr.MetaKeyNFPROTO), equal(unix.NFPROTO_IPV4)}
	case firewall.IPv6:
		return []expr.Any{meta(expr.MetaKeyNFPROTO), equal(unix.NFPROTO_IPV6)}
	}
	return nil
}

// address compares the address at offset at4 of an IPv4 or at6 of an IPv6
// header, in bytes.
func address(n firewall.Net, at4, at6 uint32) []expr.Any {
	if !n.Prefix.IsValid() {
		return nil
	}
	bytes, at := n.Prefix.Addr().AsSlice(), at6
	if n.Prefix.Addr().Is4() {
		at = at4
	}
	e := []expr.Any{payload(expr.PayloadBaseNetworkHeader, at, uint32(len(bytes)))}
	if !n.Prefix.IsSingleIP() {
		e = append(e, mask(maskOf(n.Prefix)))
	}
	op := expr.CmpOpEq
	if n.Not {
		op = expr.CmpOpNeq
	}
	return append(e, &expr.Cmp{Op: op, Register: reg, Data: bytes})
}

func maskOf(p netip.Prefix) []byte {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// native returns v as the kernel keeps it in memory.
func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func meta(k expr.MetaKey) expr.Any { return &expr.Meta{Key: k, Register: reg} }

func payload(base expr.PayloadBase, at, n uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: base, Offset: at, Len: n}
}

func equal(b ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: b} }

func mask(b []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(b)), Mask: b, Xor: make([]byte, len(b))}
}
