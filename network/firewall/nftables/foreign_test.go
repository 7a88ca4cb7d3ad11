// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
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

func TestForeignDrops(t *testing.T) {
	t.Parallel()
	const accept, jump = expr.VerdictAccept, expr.VerdictJump
	ip, ip6, inet := nft.TableFamilyIPv4, nft.TableFamilyIPv6, nft.TableFamilyINet
	policy := func(c *nft.Conn, change func(ch *nft.Chain)) {
		ch := others(c, ip)
		c.DelChain(ch)
		change(ch)
		c.AddChain(ch)
	}
	drops := func(family string) []string { return []string{"table " + family + " site, chain forward: policy drop"} }
	for name, tc := range map[string]struct {
		do   func(c *nft.Conn)
		want []string
	}{
		"nothing of others": {func(*nft.Conn) {}, nil},
		"ip":                {func(c *nft.Conn) { others(c, ip) }, drops("ip")},
		"ip6":               {func(c *nft.Conn) { others(c, ip6) }, drops("ip6")},
		"inet":              {func(c *nft.Conn) { others(c, inet) }, drops("inet")},
		"bridge":            {func(c *nft.Conn) { others(c, nft.TableFamilyBridge) }, nil},
		"all": {func(c *nft.Conn) { others(c, inet); others(c, ip6); others(c, ip) },
			slices.Concat(drops("ip"), drops("ip6"), drops("inet"))},
		"policy accept": {func(c *nft.Conn) {
			policy(c, func(ch *nft.Chain) { ok := nft.ChainPolicyAccept; ch.Policy = &ok })
		}, nil},
		"other hook": {func(c *nft.Conn) { policy(c, func(ch *nft.Chain) { ch.Hooknum = nft.ChainHookInput }) }, nil},
		"no hook": {func(c *nft.Conn) {
			policy(c, func(ch *nft.Chain) { ch.Type, ch.Hooknum, ch.Priority, ch.Policy = "", nil, nil, nil })
		}, nil},
		"accepts the network":  {func(c *nft.Conn) { others(c, ip, when("from 10.244.0.0/15", accept, "")) }, nil},
		"accepts a larger one": {func(c *nft.Conn) { others(c, ip, when("to 10.0.0.0/8", accept, "")) }, nil},
		"accepts a smaller one": {func(c *nft.Conn) { others(c, ip, when("to 10.244.0.0/16", accept, "")) },
			drops("ip")},
		"accepts one pod": {func(c *nft.Conn) { others(c, ip, when("to 10.244.0.0/32", accept, "")) }, drops("ip")},
		"accepts another": {func(c *nft.Conn) { others(c, ip, when("from 10.8.0.0/15", accept, "")) }, drops("ip")},
		"accepts all but it": {func(c *nft.Conn) { others(c, ip, when("not from 10.244.0.0/15", accept, "")) },
			drops("ip")},
		"returns for it": {func(c *nft.Conn) { others(c, ip, when("from 10.244.0.0/15", expr.VerdictReturn, "")) }, drops("ip")},
		"drops it":       {func(c *nft.Conn) { others(c, ip, when("from 10.244.0.0/15", expr.VerdictDrop, "")) }, drops("ip")},
		"no verdict":     {func(c *nft.Conn) { others(c, ip, []expr.Any{&expr.Counter{}}) }, drops("ip")},
		"another field": {func(c *nft.Conn) {
			others(c, ip, []expr.Any{payload(expr.PayloadBaseTransportHeader, 12, 1), equal(10), &expr.Verdict{Kind: accept}})
		}, drops("ip")},
		"ip6 accepted": {func(c *nft.Conn) { others(c, ip6, when("to fd00::/8", accept, "")) }, nil},
		"inet, of two families one": {func(c *nft.Conn) { others(c, inet, when("from 10.244.0.0/15", accept, "")) },
			drops("inet")},
		"inet, both": {func(c *nft.Conn) {
			others(c, inet, when("from 10.244.0.0/15", accept, ""), when("from fd00:10:244::/56", accept, ""))
		}, nil},
		"a TTL that looks like an IPv6 source": {func(c *nft.Conn) {
			others(c, inet, when("from 10.244.0.0/15", accept, ""), []expr.Any{
				meta(expr.MetaKeyNFPROTO), equal(2), payload(expr.PayloadBaseNetworkHeader, 8, 1), equal(0xfd), &expr.Verdict{Kind: accept},
			})
		}, drops("inet")},
		"accepted two jumps on, in a circle": {func(c *nft.Conn) {
			head := others(c, ip)
			for _, name := range []string{"a", "b"} {
				c.AddChain(&nft.Chain{Name: name, Table: head.Table})
			}
			for _, r := range []struct {
				chain string
				exprs []expr.Any
			}{{"forward", when("", jump, "a")}, {"a", when("", jump, "b")}, {"b", when("from 10.244.0.0/15", accept, "")}} {
				c.AddRule(&nft.Rule{Table: head.Table, Chain: &nft.Chain{Name: r.chain}, Exprs: r.exprs})
			}
		}, nil},
		"accepted where no jump leads": {func(c *nft.Conn) {
			a := c.AddChain(&nft.Chain{Name: "a", Table: others(c, ip).Table})
			c.AddRule(&nft.Rule{Table: a.Table, Chain: a, Exprs: when("from 10.244.0.0/15", accept, "")})
		}, drops("ip")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFirewall(t)
			f.mustSync(t, firewall.Rules(config()))
			c := f.dial(t)
			tc.do(c)
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			gen, _ := f.state(t, all)
			if got, err := f.ForeignDrops(t.Context(), networks()); err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("ForeignDrops = %q, %v; want %q", got, err, tc.want)
			}
			if after, _ := f.state(t, all); after != gen {
				t.Errorf("it left generation %d; want %d, as it only looks", after, gen)
			}
		})
	}
}

// The library cannot switch a table off.
func TestForeignDropsOfDormantTable(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	c := f.dial(t)
	others(c, nft.TableFamilyIPv4)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, off := range []bool{false, true} {
		if off {
			f.switchOff(t, unix.NFPROTO_IPV4, "site")
		}
		if got, err := f.ForeignDrops(t.Context(), networks()); err != nil || (got == nil) != off {
			t.Errorf("ForeignDrops = %q, %v; with the table switched off: %v", got, err, off)
		}
	}
}

func (f *Firewall) switchOff(t *testing.T, family byte, table string) {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(f.ns.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	flags := binary.NativeEndian.AppendUint16(nil, 8)
	flags = binary.NativeEndian.AppendUint16(flags, unix.NFTA_TABLE_FLAGS)
	flags = binary.BigEndian.AppendUint32(flags, 1)
	message := func(kind, flags int, family byte, attrs ...byte) netlink.Message {
		header := netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.HeaderFlags(flags)}
		return netlink.Message{Header: header, Data: append([]byte{family, 0, 0, unix.NFNL_SUBSYS_NFTABLES}, attrs...)}
	}
	const newTable = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE
	_, err = c.SendMessages([]netlink.Message{
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, 0),
		message(newTable, unix.NLM_F_ACK, family, append(text(unix.NFTA_TABLE_NAME, table), flags...)...),
		message(unix.NFNL_MSG_BATCH_END, 0, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive(); err != nil {
		t.Fatal(err)
	}
}

func TestForeignDropsOfOurFamiliesOnly(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	c := f.dial(t)
	for _, family := range []nft.TableFamily{nft.TableFamilyIPv4, nft.TableFamilyIPv6} {
		others(c, family)
	}
	ours := forwardChain() // our own table is not of others, even if somebody changed its policy
	drop := nft.ChainPolicyDrop
	ours.Policy = &drop
	c.AddTable(ours.Table)
	c.AddChain(ours)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		networks []netip.Prefix
		want     []string
	}{
		{nil, nil},
		{[]netip.Prefix{{}}, nil},
		{networks()[:1], []string{"table ip site, chain forward: policy drop"}},
		{networks()[1:], []string{"table ip6 site, chain forward: policy drop"}},
	} {
		if got, err := f.ForeignDrops(t.Context(), tc.networks); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("ForeignDrops of %v = %q, %v; want %q", tc.networks, got, err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.ForeignDrops(ctx, networks()); !errors.Is(err, context.Canceled) {
		t.Errorf("ForeignDrops = %v; want %v", err, context.Canceled)
	}
}

// What iptables writes when it is the one that speaks nftables.
func TestForeignDropsByIPTables(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("iptables-nft"); err != nil {
		t.Skipf("%v: apt-get install iptables", err)
	}
	const drop4, drop6 = "table ip filter, chain FORWARD: policy drop", "table ip6 filter, chain FORWARD: policy drop"
	for name, tc := range map[string]struct {
		lines []string // each with the tool's family in front
		want  []string
	}{
		"rules alone":      {[]string{"4 -A FORWARD -j DROP"}, nil},
		"input":            {[]string{"4 -P INPUT DROP"}, nil},
		"IPv4":             {[]string{"4 -P FORWARD DROP"}, []string{drop4}},
		"IPv6":             {[]string{"6 -P FORWARD DROP"}, []string{drop6}},
		"established only": {[]string{"4 -P FORWARD DROP", "4 -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"}, []string{drop4}},
		"accepted from":    {[]string{"4 -P FORWARD DROP", "4 -A FORWARD -s 10.244.0.0/15 -m comment --comment pods -j ACCEPT"}, nil},
		"accepted, on byte borders": {[]string{"4 -P FORWARD DROP", "4 -A FORWARD -d 10.0.0.0/8 -j ACCEPT",
			"6 -P FORWARD DROP", "6 -A FORWARD -s fd00::/16 -j ACCEPT"}, nil},
		"not accepted, on byte borders": {[]string{"6 -P FORWARD DROP", "6 -A FORWARD -s fd01::/16 -j ACCEPT"}, []string{drop6}},
		"accepted, both families": {[]string{"4 -P FORWARD DROP", "4 -I FORWARD -d 10.128.0.0/9 -j ACCEPT",
			"6 -P FORWARD DROP", "6 -A FORWARD -d fd00:10:244::/47 -j ACCEPT"}, nil},
		"accepted for users of Docker": {[]string{"4 -P FORWARD DROP", "4 -N DOCKER-USER", "4 -A FORWARD -j DOCKER-USER",
			"4 -A DOCKER-USER -d 10.244.0.0/15 -j ACCEPT"}, nil},
		"another network": {[]string{"4 -P FORWARD DROP", "4 -A FORWARD -d 172.17.0.0/16 -j ACCEPT"}, []string{drop4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := netns.Temp(t)
			f, err := Open(ns.Path(), "percale")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.mustSync(t, firewall.Rules(config()))
			for _, line := range tc.lines {
				args := strings.Fields(line)
				tool := map[string]string{"4": "iptables-nft", "6": "ip6tables-nft"}[args[0]]
				if _, err := ns.Output(tool, args[1:]...); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := f.ForeignDrops(t.Context(), networks()); err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("ForeignDrops = %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}
