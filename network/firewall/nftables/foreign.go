// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/nfattr"
)

// A Drop is a chain of others that drops what is forwarded from and to pods,
// though our rules accept it.
type Drop struct {
	Chain string // as in "table ip filter, chain FORWARD"
	Why   string // what it does, and why no rule of ours is in it
	Help  string // the command that lets pods through
}

// ForeignDrops returns the chains of others that still drop pods' packets after
// the last Sync that succeeded in looking for them. It must not be called while
// Sync runs.
//
// It is for a hint, as it cannot see everything. Not returned are chains with a
// rule that drops packets by some condition that pods' meet, and rules of
// iptables-legacy. Returned, though they may let pods through, are chains that
// accept them by a set, a verdict map, a link, a mark, or by smaller networks.
func (f *Firewall) ForeignDrops() []Drop { return f.drops }

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

// sees reports whether packets of a family meet the tables.
func (t tables) sees(proto byte) bool { return t.proto == unix.NFPROTO_INET || t.proto == proto }

// left adds to what is known to drop that gate drops what rules accept.
func (f *Firewall) left(socket *os.File, g gate, want []firewall.Rule, why string) error {
	var networks []netip.Prefix
	for _, w := range want {
		for _, n := range [...]firewall.Net{w.Match.Src, w.Match.Dst} {
			if p := n.Prefix; p.IsValid() && g.family.sees(protoOf(p)) && g.spot(protoOf(p)) != nowhere && !slices.Contains(networks, p) {
				networks = append(networks, p)
			}
		}
	}
	rules, err := ask(socket, query{
		family: g.family.proto, kind: unix.NFT_MSG_GETRULE, dump: true, attrs: text(unix.NFTA_RULE_TABLE, g.table),
	})
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	if len(networks) == 0 || lets(byChain(rules, g.table), g.name, networks) {
		return nil
	}
	f.drops = append(f.drops, Drop{Chain: g.String(), Why: why, Help: help(g, networks[0])})
	return nil
}

// help returns the commands that let pods through a gate.
func help(g gate, pods netip.Prefix) string {
	family, tool := "ip", "iptables"
	if pods.Addr().Is6() {
		family, tool = "ip6", "ip6tables"
	}
	switch {
	case g.owned:
		return fmt.Sprintf("in the settings of that program; for firewalld: "+
			"firewall-cmd --permanent --zone=trusted --add-source=%s && firewall-cmd --reload", pods)
	case g.family.proto != unix.NFPROTO_INET && g.table == "filter" && g.name == "FORWARD":
		return fmt.Sprintf("%s -I FORWARD -s %s -j ACCEPT; %[1]s -I FORWARD -d %[2]s -j ACCEPT", tool, pods)
	}
	rule := fmt.Sprintf("nft insert rule %s %s %s %s", g.family.name, g.table, g.name, family)
	return fmt.Sprintf("%s saddr %s accept; %[1]s daddr %[2]s accept", rule, pods)
}

// byChain sorts the expressions of the rules of one table by chain.
func byChain(rules [][]byte, table string) map[string][][]byte {
	out := make(map[string][][]byte)
	for _, b := range rules {
		if word(nfattr.Find(b, unix.NFTA_RULE_TABLE)) == table {
			name := word(nfattr.Find(b, unix.NFTA_RULE_CHAIN))
			out[name] = append(out[name], nfattr.Find(b, unix.NFTA_RULE_EXPRESSIONS))
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
			return slices.ContainsFunc(rules[chain], func(r []byte) bool { return acceptsFor(r, n) })
		}) {
			return false
		}
	}
	return true
}

// expressions decodes a rule. What our own rules do not have is left out.
func expressions(rule []byte) (out []expr.Any) {
	for _, e := range nfattr.All(rule) {
		if known := decodeExpr(word(nfattr.Find(e, unix.NFTA_EXPR_NAME)), nfattr.Find(e, unix.NFTA_EXPR_DATA)); known != nil {
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

// acceptsFor reports whether a rule accepts packets from or to a network.
func acceptsFor(rule []byte, network netip.Prefix) bool {
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
