// SPDX-License-Identifier: Apache-2.0

package podmasq

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// A table is ours, as the library knows it.
type table struct {
	table *nftables.Table
	chain *nftables.Chain
	sets  [2]*nftables.Set // for each of families
	rules []*nftables.Rule // of the chain
}

// A family is what the two versions of IP differ in.
type family struct {
	proto    byte // NFPROTO_*
	src, dst uint32
	len      uint32       // of an address, in bytes; src and dst are offsets in the header
	group    netip.Prefix // multicast, which no node address can answer for
}

func families() [2]family {
	return [2]family{
		{unix.NFPROTO_IPV4, 12, 16, 4, netip.MustParsePrefix("224.0.0.0/4")},
		{unix.NFPROTO_IPV6, 8, 24, 16, netip.MustParsePrefix("ff00::/8")},
	}
}

// of returns the index in families of an address's family.
func of(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// newTable returns the table for pods that reach the networks under their own
// addresses. Each rule has a comment by which complete knows it:
//
//	ip daddr <network> return         for each network and the multicast range
//	ip saddr @pods4 masquerade fully-random
func newTable(networks []netip.Prefix) table {
	t := emptyTable()
	var exprs [][]expr.Any
	for i, f := range families() {
		for _, n := range append([]netip.Prefix{f.group}, networks...) {
			if of(n.Addr()) == i {
				exprs = append(exprs, append(f.to(n), &expr.Verdict{Kind: expr.VerdictReturn}))
			}
		}
		exprs = append(exprs, append(f.load(f.src),
			&expr.Lookup{SourceRegister: 1, SetName: t.sets[i].Name, SetID: t.sets[i].ID},
			&expr.Masq{FullyRandom: true})) // or two pods may draw one port
	}
	sum := sha256.Sum256(fmt.Append(nil, networks))
	for i, e := range exprs {
		comment := fmt.Sprintf("percale %x rule %d of %d", sum[:4], i+1, len(exprs))
		t.rules = append(t.rules, &nftables.Rule{
			Table: t.table, Chain: t.chain, Exprs: e, UserData: userdata.AppendString(nil, userdata.TypeComment, comment),
		})
	}
	return t
}

func emptyTable() table {
	t := &nftables.Table{Name: Table, Family: nftables.TableFamilyINet}
	set := func(name string, key nftables.SetDatatype, id uint32) *nftables.Set {
		return &nftables.Set{Table: t, Name: name, KeyType: key, ID: id, KeyByteOrder: binaryutil.BigEndian}
	}
	return table{
		table: t,
		chain: &nftables.Chain{
			Table: t, Name: "postrouting", Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		},
		sets: [2]*nftables.Set{set("pods4", nftables.TypeIPAddr, 1), set("pods6", nftables.TypeIP6Addr, 2)},
	}
}

// define adds to c's transaction what makes the table, its sets and its chain
// where they are not there yet, and the chain's rules anew.
func (t table) define(c *nftables.Conn) error {
	c.AddTable(t.table)
	for _, s := range t.sets {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	c.AddChain(t.chain)
	c.FlushChain(t.chain)
	for _, r := range t.rules {
		c.AddRule(r)
	}
	return nil
}

// complete reports whether the kernel holds the rules, by their comments.
func (t table) complete(c *nftables.Conn) bool {
	have, err := c.GetRules(t.table, t.chain)
	if err != nil || len(have) != len(t.rules) {
		return false
	}
	for i, r := range have {
		if !bytes.Equal(r.UserData, t.rules[i].UserData) {
			return false
		}
	}
	return true
}

// load puts the address at an offset of the header into register 1, for
// packets of the family; no other goes on in the rule.
func (f family) load(offset uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.len},
	}
}

// to matches packets to an address in p.
func (f family) to(p netip.Prefix) []expr.Any {
	mask := make([]byte, f.len)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(f.load(f.dst),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: f.len, Mask: mask, Xor: make([]byte, f.len)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

// elements passes the pods of each family to change.
func (t table) elements(pods []netip.Addr, change func(*nftables.Set, []nftables.SetElement) error) error {
	var elements [2][]nftables.SetElement
	for _, a := range pods {
		elements[of(a)] = append(elements[of(a)], nftables.SetElement{Key: a.AsSlice()})
	}
	for i, e := range elements {
		if len(e) == 0 {
			continue
		}
		if err := change(t.sets[i], e); err != nil {
			return err
		}
	}
	return nil
}
