// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

func TestSpot(t *testing.T) {
	t.Parallel()
	const v4, v6 = unix.NFPROTO_IPV4, unix.NFPROTO_IPV6
	to := func(then fate, chain string) rule { return rule{effect: effect{then: then, chain: chain}} }
	is := func(then fate) rule { return to(then, "") }
	only := func(family byte, then fate) rule { return rule{effect: effect{family: family, then: then}} }
	ours := rule{ours: true, effect: effect{then: drops}}
	beyond := map[string][]rule{
		"empty": nil, "drops": {is(passes), is(drops)}, "decides": {is(decides)},
		"decides, drops": {is(decides), is(drops)}, "returns": {is(returns), is(drops)}, "accepts": {is(decides), is(accepts)},
		"deep": {to(jumps, "drops")}, "went": {to(goes, "empty"), is(drops)}, "drops v6": {only(v6, drops)},
		"deep, decides": {to(jumps, "decides"), is(drops)}, "circle": {to(jumps, "circle")},
	}
	for name, tc := range map[string]struct {
		drop  bool
		rules []rule
		want  int
	}{
		"nothing":            {false, nil, nowhere},
		"policy":             {true, nil, 0},
		"policy, end":        {true, []rule{is(passes), is(decides)}, 2},
		"drop":               {false, []rule{is(decides), is(drops), is(drops)}, 1},
		"accept, drop":       {true, []rule{is(accepts), is(drops)}, nowhere},
		"ours do not count":  {true, []rule{ours, ours}, 2},
		"another family":     {false, []rule{only(v6, drops), only(v6, accepts)}, nowhere},
		"our family":         {false, []rule{only(v6, drops), only(v4, drops)}, 1},
		"return":             {false, []rule{is(returns), is(drops)}, nowhere},
		"return, policy":     {true, []rule{is(returns), is(drops)}, 0},
		"jump to nothing":    {true, []rule{to(jumps, "empty"), to(jumps, "unknown")}, 2},
		"jump and drop":      {false, []rule{is(passes), to(jumps, "drops")}, 1},
		"jump, other family": {false, []rule{to(jumps, "drops v6")}, nowhere},
		"jump twice":         {false, []rule{to(jumps, "deep")}, 0},
		"jump and back":      {true, []rule{to(jumps, "returns"), to(jumps, "decides"), to(jumps, "went")}, 3},
		"jump and accept":    {true, []rule{to(jumps, "accepts")}, nowhere},
		"blocked":            {true, []rule{is(passes), to(jumps, "decides, drops")}, blocked},
		"blocked, deep":      {true, []rule{to(jumps, "deep, decides")}, blocked},
		"go":                 {true, []rule{to(goes, "empty"), is(drops)}, 0},
		"go, no policy":      {false, []rule{to(goes, "empty"), is(drops)}, nowhere},
		"go, decided":        {true, []rule{to(goes, "decides")}, blocked},
		"circle":             {false, []rule{to(jumps, "circle")}, nowhere},
	} {
		g := gate{drop: tc.drop, rules: tc.rules, beyond: beyond}
		if got := g.spot(v4); got != tc.want {
			t.Errorf("%s: spot = %d; want %d", name, got, tc.want)
		}
	}
}

// What rules of a table for both families do to all packets of one.
func TestEffects(t *testing.T) {
	t.Parallel()
	v4, v6 := equal(unix.NFPROTO_IPV4), equal(unix.NFPROTO_IPV6)
	asks := meta(expr.MetaKeyNFPROTO)
	not4 := &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: []byte{unix.NFPROTO_IPV4}}
	drop, accept := &expr.Verdict{Kind: expr.VerdictDrop}, &expr.Verdict{Kind: expr.VerdictAccept}
	limit := &expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeSecond, Burst: 5}
	set := []expr.Any{&expr.Immediate{Register: reg, Data: native(1)}, &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg}}
	for name, tc := range map[string]struct {
		exprs []expr.Any
		want  effect
	}{
		"nothing":              {nil, effect{}},
		"drop":                 {[]expr.Any{drop}, effect{then: drops}},
		"count, log, drop":     {[]expr.Any{&expr.Counter{}, &expr.Log{}, drop}, effect{then: drops}},
		"mark, drop":           {append(slices.Clone(set), drop), effect{then: drops}},
		"reject":               {[]expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: 3}}, effect{then: drops}},
		"accept":               {[]expr.Any{accept}, effect{then: accepts}},
		"return":               {[]expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}, effect{then: returns}},
		"IPv4 dropped":         {[]expr.Any{asks, v4, drop}, effect{family: unix.NFPROTO_IPV4, then: drops}},
		"IPv6 dropped":         {[]expr.Any{asks, v6, drop}, effect{family: unix.NFPROTO_IPV6, then: drops}},
		"not IPv4":             {[]expr.Any{asks, not4, drop}, effect{}},
		"some dropped":         {[]expr.Any{limit, drop}, effect{}},
		"some accepted":        {[]expr.Any{limit, accept}, effect{then: decides}},
		"some IPv4 accepted":   {[]expr.Any{asks, v4, limit, accept}, effect{family: unix.NFPROTO_IPV4, then: decides}},
		"a link":               {[]expr.Any{meta(expr.MetaKeyIIF), &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: native(1)}, accept}, effect{then: decides}},
		"jump":                 {when("", expr.VerdictJump, "x"), effect{then: jumps, chain: "x"}},
		"go":                   {when("", expr.VerdictGoto, "x"), effect{then: goes, chain: "x"}},
		"some jump":            {when("from 10.0.0.0/8", expr.VerdictJump, "x"), effect{family: unix.NFPROTO_IPV4, then: decides}},
		"asked before, of all": {[]expr.Any{asks, &expr.Counter{}, drop}, effect{then: drops}},
	} {
		f := newFirewall(t)
		c := f.dial(t)
		head := others(c, nft.TableFamilyINet)
		c.AddChain(&nft.Chain{Name: "x", Table: head.Table})
		c.AddRule(&nft.Rule{Table: head.Table, Chain: head, Exprs: tc.exprs})
		if err := c.Flush(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		socket, err := open(f.ns)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		gates, err := f.gates(socket)
		if err != nil || len(gates) != 1 || len(gates[0].rules) != 1 {
			t.Fatalf("%s: gates = %v, %v; want one with a rule", name, gates, err)
		}
		if got := gates[0].rules[0]; got.effect != tc.want || got.ours || got.handle == 0 {
			t.Errorf("%s: the kernel shows %+v; want effect %+v", name, got, tc.want)
		}
	}
}

// An edit, carried out, leaves nothing to edit, and touches only what is ours.
func TestEditOnce(t *testing.T) {
	t.Parallel()
	want := letting(firewall.Rules(config()))
	mark := markOf("percale")
	for _, fam := range []tables{{unix.NFPROTO_IPV4, "ip"}, {unix.NFPROTO_IPV6, "ip6"}, {unix.NFPROTO_INET, "inet"}} {
		for bits := range 1 << 8 {
			g := gate{family: fam, table: "t", name: "c", drop: bits&1 != 0, dormant: bits&2 != 0}
			for i := range 6 {
				r := rule{handle: uint64(i + 1), text: fmt.Sprint(i)}
				if bits>>(2+i)&1 != 0 { // now and then ours, of the right text and of a wrong one
					r.ours = i%2 == 0
					r.then = []fate{passes, drops, passes, decides, passes, drops}[i]
					if i == 2 {
						r.text = g.text(want[i%len(want)], mark)
					}
				}
				g.rules = append(g.rules, r)
			}
			edited := g.carryOut(g.edit(want, mark), mark)
			if e := edited.edit(want, mark); len(e.inserts)+len(e.deletes)+len(e.changed) > 0 {
				t.Errorf("%+v becomes %+v, which needs %+v; want nothing more", g, edited, e)
			}
			theirs := func(g gate) (out []rule) {
				return slices.DeleteFunc(slices.Clone(g.rules), func(r rule) bool { return r.ours })
			}
			if !slices.Equal(theirs(g), theirs(edited)) {
				t.Errorf("%+v becomes %+v; want the rules of others as they were", g, edited)
			}
		}
	}
}

// carryOut does to g what rewrite does to the kernel.
func (g gate) carryOut(e edit, mark string) gate {
	rules := slices.Clone(g.rules)
	for i, in := range e.inserts {
		at := len(rules)
		if in.before != 0 {
			at = slices.IndexFunc(rules, func(r rule) bool { return r.handle == in.before })
		}
		r := rule{handle: uint64(100 + i), ours: true, text: g.text(in.rule, mark), effect: effect{then: decides}}
		rules = slices.Insert(rules, at, r)
	}
	g.rules = slices.DeleteFunc(rules, func(r rule) bool { return slices.Contains(e.deletes, r.handle) })
	return g
}

func TestMarkOf(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("percale-", 20)
	seen := make(map[string]string)
	for _, instance := range []string{"percale", "percale-blue", long, long + "a", long + "b"} {
		m := markOf(instance)
		for other, name := range seen {
			if strings.HasPrefix(m, other) || strings.HasPrefix(other, m) {
				t.Errorf("marks of %q and %q begin alike: %q, %q", instance, name, m, other)
			}
		}
		seen[m] = instance
		if len(m) > 66 || !strings.HasSuffix(m, ": ") {
			t.Errorf("mark of %q = %q; want at most 66 bytes", instance, m)
		}
	}
}
