// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ForeignDrops names the chains of others that drop what is forwarded from and
// to pods although our rules accept it: those at the forward hook, in tables
// that are switched on, whose policy is to drop packets of the family of one of
// the networks. A chain is left out if it has, or leads by jumps to, a rule
// that accepts packets from or to the whole of each such network; what else
// that rule asks for, and the jumps, is not looked at.
//
// It is for a hint, as it cannot see everything. Not named are chains that drop
// or reject by a rule, and rules of iptables-legacy. Named, though they may let
// pods through, are chains that accept them by a set, a verdict map, a link, a
// mark, or by smaller networks.
func (f *Firewall) ForeignDrops(ctx context.Context, networks []netip.Prefix) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	socket, err := open(f.ns)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	drops, err := consistent(socket, func() ([]string, error) {
		var out []string
		for _, fam := range []tables{{unix.NFPROTO_IPV4, "ip"}, {unix.NFPROTO_IPV6, "ip6"}, {unix.NFPROTO_INET, "inet"}} {
			theirs := slices.DeleteFunc(slices.Clone(networks), func(p netip.Prefix) bool { return !fam.sees(p) })
			if len(theirs) == 0 {
				continue
			}
			drops, err := f.foreignDrops(socket, fam, theirs)
			if err != nil {
				return nil, err
			}
			out = append(out, drops...)
		}
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for chains that drop: %w", err)
	}
	return drops, nil
}

// Tables are those of one family.
type tables struct {
	proto byte // NFPROTO_*
	name  string
}

func protoOf(p netip.Prefix) byte {
	if p.Addr().Is4() {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

func (t tables) sees(p netip.Prefix) bool {
	return p.IsValid() && (t.proto == unix.NFPROTO_INET || t.proto == protoOf(p))
}

func (f *Firewall) foreignDrops(socket *os.File, fam tables, networks []netip.Prefix) ([]string, error) {
	on := make(map[string]bool)
	found, err := ask(socket, query{family: fam.proto, kind: unix.NFT_MSG_GETTABLE, dump: true})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	for _, b := range found {
		name, dormant := word(find(b, unix.NFTA_TABLE_NAME)), number(find(b, unix.NFTA_TABLE_FLAGS))&1 != 0
		on[name] = !dormant && (name != f.table || fam.proto != unix.NFPROTO_INET)
	}
	chains, err := ask(socket, query{family: fam.proto, kind: unix.NFT_MSG_GETCHAIN, dump: true})
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	var out []string
	for _, b := range chains {
		table, name := word(find(b, unix.NFTA_CHAIN_TABLE)), word(find(b, unix.NFTA_CHAIN_NAME))
		if !on[table] || !dropsForwarded(b) {
			continue
		}
		rules, err := ask(socket, query{
			family: fam.proto, kind: unix.NFT_MSG_GETRULE, dump: true, attrs: text(unix.NFTA_RULE_TABLE, table),
		})
		if err != nil {
			return nil, fmt.Errorf("list rules: %w", err)
		}
		if !lets(byChain(rules, table), name, networks) {
			out = append(out, fmt.Sprintf("table %s %s, chain %s: policy drop", fam.name, table, name))
		}
	}
	return out, nil
}

// dropsForwarded reports whether a chain is one at the forward hook that drops
// what its rules do not decide.
func dropsForwarded(b []byte) bool {
	hook, policy := find(find(b, unix.NFTA_CHAIN_HOOK), unix.NFTA_HOOK_HOOKNUM), find(b, unix.NFTA_CHAIN_POLICY)
	return len(hook) == 4 && number(hook) == unix.NF_INET_FORWARD &&
		len(policy) == 4 && number(policy) == uint32(nft.ChainPolicyDrop)
}

// byChain sorts the expressions of the rules of one table by chain.
func byChain(rules [][]byte, table string) map[string][][]byte {
	out := make(map[string][][]byte)
	for _, b := range rules {
		if word(find(b, unix.NFTA_RULE_TABLE)) == table {
			name := word(find(b, unix.NFTA_RULE_CHAIN))
			out[name] = append(out[name], find(b, unix.NFTA_RULE_EXPRESSIONS))
		}
	}
	return out
}

// lets reports whether the rules accept each of the networks, on the way that
// begins at a chain.
func lets(rules map[string][][]byte, chain string, networks []netip.Prefix) bool {
	way := []string{chain}
	for i := 0; i < len(way); i++ {
		for _, r := range rules[way[i]] {
			if next := verdict(r).Chain; next != "" && !slices.Contains(way, next) {
				way = append(way, next)
			}
		}
	}
	for _, n := range networks {
		if !slices.ContainsFunc(way, func(chain string) bool {
			return slices.ContainsFunc(rules[chain], func(r []byte) bool { return accepts(r, n) })
		}) {
			return false
		}
	}
	return true
}

// expressions decodes a rule. What our own rules do not have is left out.
func expressions(rule []byte) (out []expr.Any) {
	for _, e := range attributes(rule) {
		if known := decodeExpr(word(find(e, unix.NFTA_EXPR_NAME)), find(e, unix.NFTA_EXPR_DATA)); known != nil {
			out = append(out, known)
		}
	}
	return out
}

// verdict returns what a rule ends in; the zero Verdict means dropping, so none
// is "continue".
func verdict(rule []byte) expr.Verdict {
	for _, e := range expressions(rule) {
		if v, ok := e.(*expr.Verdict); ok {
			return *v
		}
	}
	return expr.Verdict{Kind: expr.VerdictContinue}
}

// accepts reports whether a rule accepts packets from or to a network.
func accepts(rule []byte, network netip.Prefix) bool {
	var about any // what is in the register: a *expr.Payload or *expr.Meta
	var ones int  // bits of it that are compared
	var hit bool
	for _, e := range expressions(rule) {
		switch e := e.(type) {
		case *expr.Payload:
			about, ones = e, int(e.Len)*8
		case *expr.Meta:
			about = e
		case *expr.Bitwise:
			ones = 0
			for _, b := range e.Mask {
				ones += bits.OnesCount8(b)
			}
		case *expr.Cmp:
			switch at := about.(type) {
			case *expr.Meta: // a table for both families asks for the family first
				if at.Key == expr.MetaKeyNFPROTO && (e.Op != expr.CmpOpEq || !slices.Equal(e.Data, []byte{protoOf(network)})) {
					return false
				}
			case *expr.Payload:
				hit = hit || e.Op == expr.CmpOpEq && isAddress(at, network) && contains(e.Data, ones, network)
			}
		}
	}
	return hit && verdict(rule).Kind == expr.VerdictAccept
}

// isAddress reports whether a payload is the start of the source or of the
// destination address in a header of the family of network.
func isAddress(p *expr.Payload, network netip.Prefix) bool {
	src, dst := uint32(12), uint32(16)
	if network.Addr().Is6() {
		src, dst = 8, 24
	}
	return p.Base == expr.PayloadBaseNetworkHeader && (p.Offset == src || p.Offset == dst) &&
		int(p.Len) <= network.Addr().BitLen()/8
}

// contains reports whether the network is within the one of which so many bits
// stand in start, the first bytes of an address.
func contains(start []byte, ones int, network netip.Prefix) bool {
	whole := make([]byte, network.Addr().BitLen()/8)
	copy(whole, start)
	a, _ := netip.AddrFromSlice(whole)
	p := netip.PrefixFrom(a, ones)
	return p.IsValid() && p.Bits() <= network.Bits() && p.Contains(network.Addr())
}
