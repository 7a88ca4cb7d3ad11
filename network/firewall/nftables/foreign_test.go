// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/percale-net/percale/network/firewall"
)

func networks() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range config().Families {
		out = append(out, p.Network)
	}
	return out
}

// when returns the expressions of a rule that ends in a verdict for packets
// from or to a prefix ("from 10.0.0.0/8", "not to fd00::/8").
func when(match string, then expr.VerdictKind, chain string) []expr.Any {
	r := firewall.Rule{Then: firewall.Pass}
	if match != "" {
		match, not := strings.CutPrefix(match, "not ")
		way, prefix, _ := strings.Cut(match, " ")
		n := firewall.Net{Prefix: netip.MustParsePrefix(prefix), Not: not}
		if way == "from" {
			r.Match.Src = n
		} else {
			r.Match.Dst = n
		}
	}
	e := exprs(r)
	e[len(e)-1] = &expr.Verdict{Kind: then, Chain: chain}
	return e
}

// others adds a chain of others that drops what is forwarded, then its rules.
func others(c *nft.Conn, family nft.TableFamily, rules ...[]expr.Any) *nft.Chain {
	drop := nft.ChainPolicyDrop
	ch := forwardChain()
	ch.Table, ch.Policy = &nft.Table{Name: "site", Family: family}, &drop
	c.AddTable(ch.Table)
	c.AddChain(ch)
	for _, e := range rules {
		c.AddRule(&nft.Rule{Table: ch.Table, Chain: ch, Exprs: e})
	}
	return ch
}

// beyondHelp adds a chain of others that drops what is forwarded, by a chain
// that it leads all packets to, behind rules that let certain packets through.
func beyondHelp(c *nft.Conn, family nft.TableFamily, rules ...[]expr.Any) {
	head := others(c, family)
	rest := c.AddChain(&nft.Chain{Name: "rest", Table: head.Table})
	c.AddRule(&nft.Rule{Table: head.Table, Chain: head, Exprs: when("", expr.VerdictJump, "rest")})
	some := []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: reg}, mask(native(2)), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native(0)}}
	rules = append([][]expr.Any{append(some, &expr.Verdict{Kind: expr.VerdictAccept})}, rules...)
	for _, e := range append(rules, when("", expr.VerdictDrop, "")) {
		c.AddRule(&nft.Rule{Table: head.Table, Chain: rest, Exprs: e})
	}
}

func TestForeignDrops(t *testing.T) {
	t.Parallel()
	const accept, jump = expr.VerdictAccept, expr.VerdictJump
	ip, ip6, inet := nft.TableFamilyIPv4, nft.TableFamilyIPv6, nft.TableFamilyINet
	for name, tc := range map[string]struct {
		do   func(c *nft.Conn)
		want string // families of tables
	}{
		"nothing of others":     {func(*nft.Conn) {}, ""},
		"what can be helped":    {func(c *nft.Conn) { others(c, ip); others(c, inet, when("", expr.VerdictDrop, "")) }, ""},
		"ip":                    {func(c *nft.Conn) { beyondHelp(c, ip) }, "ip"},
		"ip6":                   {func(c *nft.Conn) { beyondHelp(c, ip6) }, "ip6"},
		"inet":                  {func(c *nft.Conn) { beyondHelp(c, inet) }, "inet"},
		"bridge":                {func(c *nft.Conn) { others(c, nft.TableFamilyBridge) }, ""},
		"all":                   {func(c *nft.Conn) { beyondHelp(c, inet); beyondHelp(c, ip6); beyondHelp(c, ip) }, "ip ip6 inet"},
		"accepts the network":   {func(c *nft.Conn) { beyondHelp(c, ip, when("from 10.244.0.0/15", accept, "")) }, ""},
		"accepts a larger one":  {func(c *nft.Conn) { beyondHelp(c, ip, when("to 10.0.0.0/8", accept, "")) }, ""},
		"accepts a smaller one": {func(c *nft.Conn) { beyondHelp(c, ip, when("to 10.244.0.0/16", accept, "")) }, "ip"},
		"accepts one pod":       {func(c *nft.Conn) { beyondHelp(c, ip, when("to 10.244.0.0/32", accept, "")) }, "ip"},
		"accepts another":       {func(c *nft.Conn) { beyondHelp(c, ip, when("from 10.8.0.0/15", accept, "")) }, "ip"},
		"accepts all but it":    {func(c *nft.Conn) { beyondHelp(c, ip, when("not from 10.244.0.0/15", accept, "")) }, "ip"},
		"returns for it":        {func(c *nft.Conn) { beyondHelp(c, ip, when("from 10.244.0.0/15", expr.VerdictReturn, "")) }, "ip"},
		"drops it":              {func(c *nft.Conn) { beyondHelp(c, ip, when("from 10.244.0.0/15", expr.VerdictDrop, "")) }, "ip"},
		"no verdict":            {func(c *nft.Conn) { beyondHelp(c, ip, []expr.Any{&expr.Counter{}}) }, "ip"},
		"another field": {func(c *nft.Conn) {
			beyondHelp(c, ip, []expr.Any{payload(expr.PayloadBaseTransportHeader, 12, 1), equal(10), &expr.Verdict{Kind: accept}})
		}, "ip"},
		"ip6 accepted":              {func(c *nft.Conn) { beyondHelp(c, ip6, when("to fd00::/8", accept, "")) }, ""},
		"inet, of two families one": {func(c *nft.Conn) { beyondHelp(c, inet, when("from 10.244.0.0/15", accept, "")) }, "inet"},
		"inet, both": {func(c *nft.Conn) {
			beyondHelp(c, inet, when("from 10.244.0.0/15", accept, ""), when("from fd00:10:244::/56", accept, ""))
		}, ""},
		"a TTL that looks like an IPv6 source": {func(c *nft.Conn) {
			beyondHelp(c, inet, when("from 10.244.0.0/15", accept, ""), []expr.Any{
				meta(expr.MetaKeyNFPROTO), equal(2), payload(expr.PayloadBaseNetworkHeader, 8, 1), equal(0xfd), &expr.Verdict{Kind: accept},
			})
		}, "inet"},
		"accepted two jumps on": {func(c *nft.Conn) {
			table := &nft.Table{Name: "site", Family: ip}
			c.AddTable(table)
			for _, name := range []string{"a", "b"} {
				c.AddChain(&nft.Chain{Name: name, Table: table})
			}
			beyondHelp(c, ip, when("to 192.0.2.0/24", jump, "a"))
			c.AddRule(&nft.Rule{Table: table, Chain: &nft.Chain{Name: "a"}, Exprs: when("", jump, "b")})
			c.AddRule(&nft.Rule{Table: table, Chain: &nft.Chain{Name: "b"}, Exprs: when("from 10.244.0.0/15", accept, "")})
		}, ""},
		"accepted where no jump leads": {func(c *nft.Conn) {
			beyondHelp(c, ip)
			a := c.AddChain(&nft.Chain{Name: "a", Table: &nft.Table{Name: "site", Family: ip}})
			c.AddRule(&nft.Rule{Table: a.Table, Chain: a, Exprs: when("from 10.244.0.0/15", accept, "")})
		}, "ip"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFirewall(t)
			c := f.dial(t)
			tc.do(c)
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			f.mustSync(t, firewall.Rules(config()))
			var got []string
			for _, d := range f.ForeignDrops() {
				if !strings.HasSuffix(d.Chain, " site, chain forward") || d.Why == "" || !strings.Contains(d.Help, "nft insert rule") {
					t.Errorf("ForeignDrops has %+v; want the chain of others, why, and what helps", d)
				}
				got = append(got, strings.Fields(d.Chain)[1])
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("ForeignDrops of tables %q; want %q", got, tc.want)
			}
			f.mustSync(t, firewall.Ruleset{})
			if drops := f.ForeignDrops(); drops != nil {
				t.Errorf("ForeignDrops of no rules = %v; want none", drops)
			}
		})
	}
}
