// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/percale-net/percale/network/firewall"
)

func TestSyncRepairs(t *testing.T) {
	t.Parallel()
	drop := nft.ChainPolicyDrop
	for name, tc := range map[string]struct {
		tamper func(c *nft.Conn, rules []*nft.Rule) // rules are those of the chain forward
		want   string
	}{
		"rule deleted": {func(c *nft.Conn, rules []*nft.Rule) { c.DelRule(rules[1]) }, "chain forward: 1 of 4 rules missing"},
		"rule inserted": {func(c *nft.Conn, rules []*nft.Rule) {
			c.InsertRule(&nft.Rule{Table: testTable(), Chain: forwardChain(), Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
		}, "chain forward: 1 rule not ours"},
		"rule of unknown kind appended": {func(c *nft.Conn, rules []*nft.Rule) {
			c.AddRule(&nft.Rule{Table: testTable(), Chain: forwardChain(), Exprs: []expr.Any{&expr.Counter{}}})
		}, "chain forward: 1 rule not ours"},
		"rule replaced, comment kept": {func(c *nft.Conn, rules []*nft.Rule) {
			r := *rules[0]
			r.Exprs = append(slices.Clone(r.Exprs[:len(r.Exprs)-1]), &expr.Verdict{Kind: expr.VerdictDrop})
			c.ReplaceRule(&r)
		}, "chain forward: 1 of 4 rules missing, 1 not ours"},
		"counter added to rule": {func(c *nft.Conn, rules []*nft.Rule) {
			r := *rules[0]
			r.Exprs = append([]expr.Any{&expr.Counter{}}, r.Exprs...)
			c.ReplaceRule(&r)
		}, "chain forward: 1 of 4 rules missing, 1 not ours"},
		"rules out of order": {func(c *nft.Conn, rules []*nft.Rule) {
			c.DelRule(rules[0])
			c.AddRule(&nft.Rule{Table: testTable(), Chain: forwardChain(), Exprs: rules[0].Exprs, UserData: rules[0].UserData})
		}, "chain forward: rules out of order"},
		"chain flushed": {func(c *nft.Conn, rules []*nft.Rule) { c.FlushChain(forwardChain()) }, "chain forward: 4 of 4 rules missing"},
		"chain deleted": {func(c *nft.Conn, rules []*nft.Rule) {
			c.FlushChain(forwardChain())
			c.DelChain(forwardChain())
		}, "chain forward: missing"},
		"chain added":   {func(c *nft.Conn, rules []*nft.Rule) { c.AddChain(&nft.Chain{Name: "more", Table: testTable()}) }, "chain more: not wanted"},
		"table flushed": {func(c *nft.Conn, rules []*nft.Rule) { c.FlushTable(testTable()) }, "chain postrouting: 11 of 11 rules missing"},
		"table deleted": {func(c *nft.Conn, rules []*nft.Rule) { c.DelTable(testTable()) }, "table: missing"},
		"all flushed":   {func(c *nft.Conn, rules []*nft.Rule) { c.FlushRuleset() }, "table: missing"},
		"policy": {func(c *nft.Conn, rules []*nft.Rule) {
			ch := forwardChain()
			ch.Policy = &drop
			c.AddChain(ch)
		}, "chain forward: is type filter hook forward priority 0 policy drop, want type filter hook forward priority 0 policy accept"},
		"hook and priority": {func(c *nft.Conn, rules []*nft.Rule) {
			ch := forwardChain()
			c.FlushChain(ch)
			c.DelChain(ch)
			ch.Hooknum, ch.Priority = nft.ChainHookInput, nft.ChainPriorityRaw
			c.AddChain(ch)
		}, "chain forward: is type filter hook input priority -300 policy accept, want type filter hook forward priority 0 policy accept"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFirewall(t)
			f.mustSync(t, firewall.Rules(config()))
			c := f.dial(t)
			rules, err := c.GetRules(testTable(), forwardChain())
			if err != nil {
				t.Fatal(err)
			}
			tc.tamper(c, rules)
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			if changed := f.mustSync(t, firewall.Rules(config())); !slices.Contains(changed, tc.want) {
				t.Errorf("Sync changed %q; want %q", changed, tc.want)
			}
			if changed := f.mustSync(t, firewall.Rules(config())); changed != nil {
				t.Errorf("the Sync after it changed %q; want nothing", changed)
			}
		})
	}
}
