// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"os"
	"slices"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall/nfattr"
)

// Flags of a table.
const (
	flagDormant = 1
	flagOwner   = 2 // since Linux 5.12
)

// gates reads the chains of others at the forward hook. From then on Watch
// hears of changes to them.
func (f *Firewall) gates(socket *os.File) ([]gate, error) {
	var out []gate
	f.flannel = nil
	for _, fam := range [...]tables{{unix.NFPROTO_IPV4, "ip"}, {unix.NFPROTO_IPV6, "ip6"}, {unix.NFPROTO_INET, "inet"}} {
		found, err := f.heads(socket, fam)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	f.hearOf(out) // before their rules are read: what changes in between is heard, or seen
	for i, g := range out {
		for todo := []string{g.name}; len(todo) > 0; todo = todo[1:] {
			rules, err := f.rules(socket, g, todo[0])
			if err != nil {
				return nil, err
			}
			if todo[0] == g.name {
				out[i].rules = rules
			} else {
				g.beyond[todo[0]] = rules
			}
			for _, r := range rules {
				if _, known := g.beyond[r.chain]; r.chain != "" && !known {
					todo = append(todo, r.chain)
				}
			}
		}
	}
	return out, nil
}

// heads reads the gates of one family, without their rules.
func (f *Firewall) heads(socket *os.File, fam tables) ([]gate, error) {
	found, err := ask(socket, query{family: fam.proto, kind: unix.NFT_MSG_GETTABLE, dump: true})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	flags := make(map[string]uint32)
	for _, b := range found {
		name := word(nfattr.Find(b, unix.NFTA_TABLE_NAME))
		flags[name] = number(nfattr.Find(b, unix.NFTA_TABLE_FLAGS))
		f.flannel = append(f.flannel, flannelTable(fam, name)...)
	}
	chains, err := ask(socket, query{family: fam.proto, kind: unix.NFT_MSG_GETCHAIN, dump: true})
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	var out []gate
	for _, b := range chains { // of others there may be very many
		table, name, policy := word(nfattr.Find(b, unix.NFTA_CHAIN_TABLE)), word(nfattr.Find(b, unix.NFTA_CHAIN_NAME)), nfattr.Find(b, unix.NFTA_CHAIN_POLICY)
		f.flannel = append(f.flannel, flannelChain(fam, table, name)...)
		if !forwards(b) || fam.proto == unix.NFPROTO_INET && table == f.table {
			continue
		}
		out = append(out, gate{
			family: fam, table: table, name: name,
			dormant: flags[table]&flagDormant != 0, owned: flags[table]&flagOwner != 0,
			drop:   policy != nil && number(policy) == uint32(nft.ChainPolicyDrop),
			beyond: make(map[string][]rule),
		})
	}
	return out, nil
}

// forwards reports whether a chain is one at the forward hook.
func forwards(chain []byte) bool {
	hook := nfattr.Find(nfattr.Find(chain, unix.NFTA_CHAIN_HOOK), unix.NFTA_HOOK_HOOKNUM)
	return len(hook) == 4 && number(hook) == unix.NF_INET_FORWARD
}

// rules reads the rules of one chain, in their order. Tables may have very many.
func (f *Firewall) rules(socket *os.File, g gate, chain string) ([]rule, error) {
	found, err := ask(socket, query{
		family: g.family.proto, kind: unix.NFT_MSG_GETRULE, dump: true,
		attrs: slices.Concat(text(unix.NFTA_RULE_TABLE, g.table), text(unix.NFTA_RULE_CHAIN, chain)),
	})
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	var out []rule
	for _, b := range found {
		if word(nfattr.Find(b, unix.NFTA_RULE_TABLE)) == g.table && word(nfattr.Find(b, unix.NFTA_RULE_CHAIN)) == chain {
			out = append(out, decodeGateRule(b, markOf(f.table)))
		}
	}
	return out, nil
}
