// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall"
)

func config() firewall.Config {
	return firewall.Config{
		Families: []firewall.Pods{
			{Network: netip.MustParsePrefix("10.244.0.0/15"), Subnet: netip.MustParsePrefix("10.244.1.0/24")},
			{Network: netip.MustParsePrefix("fd00:10:244::/56"), Subnet: netip.MustParsePrefix("fd00:10:244:1::/64")},
		},
		Masquerade: true, RandomFully: true, Forward: true, TunnelPort: 8472,
	}
}

// newFirewall returns a firewall in a namespace of its own.
func newFirewall(t *testing.T) *Firewall {
	t.Helper()
	f, err := Open(netns.Temp(t).Path(), "percale")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func (f *Firewall) dial(t *testing.T) *nft.Conn {
	t.Helper()
	c, err := f.conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseLasting() })
	return c
}

func (f *Firewall) mustSync(t *testing.T, r firewall.Ruleset) []string {
	t.Helper()
	changed, err := f.Sync(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// state returns the ruleset's generation, and all tables with their rules and
// handles, which are new for each object that is made.
func (f *Firewall) state(t *testing.T, only func(*nft.Table) bool) (gen uint32, dump string) {
	t.Helper()
	socket, err := open(f.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	gen, err = generation(socket)
	if err != nil {
		t.Fatal(err)
	}
	c := f.dial(t)
	tables, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	chains, err := c.ListChains()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, tab := range tables {
		if !only(tab) {
			continue
		}
		fmt.Fprintf(&b, "table %v %v\n", tab.Family, tab.Name)
		for _, ch := range chains {
			if ch.Table.Name != tab.Name || ch.Table.Family != tab.Family {
				continue
			}
			rules, err := c.GetRules(tab, ch)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "chain %v %v\n", ch.Name, ch.Type)
			for _, r := range rules {
				fmt.Fprintf(&b, "rule %v %s\n", r.Handle, form(r.Exprs, r.UserData))
			}
		}
	}
	return gen, b.String()
}

func all(*nft.Table) bool { return true }

func TestSyncTwiceWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	if changed := f.mustSync(t, firewall.Rules(config())); !slices.Equal(changed, []string{"table: missing"}) {
		t.Errorf("first Sync changed %q; want the table to be missing", changed)
	}
	gen, dump := f.state(t, all)
	again, err := Open(f.ns.Name(), "percale") // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, f := range []*Firewall{f, again} {
		if changed := f.mustSync(t, firewall.Rules(config())); changed != nil {
			t.Errorf("next Sync changed %q; want nothing", changed)
		}
	}
	if gen2, dump2 := f.state(t, all); gen2 != gen || dump2 != dump {
		t.Errorf("rules are of generation %d, want %d:\n%s\nwant\n%s", gen2, gen, dump2, dump)
	}
}

func TestEachConfigIsReadBackAsWritten(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	for bits := range 64 {
		c := config()
		c.Masquerade, c.RandomFully, c.Forward = bits&1 != 0, bits&2 != 0, bits&4 != 0
		if bits&8 != 0 {
			c.TunnelPort = 0
		}
		if bits&16 != 0 {
			c.Families = c.Families[1:]
		}
		if bits&32 != 0 { // prefix lengths off byte borders, and one of a single address
			c.Families[0].Network = netip.MustParsePrefix("fd00:10:244::/61")
			c.Families[0].Subnet = netip.MustParsePrefix("fd00:10:244::7/128")
		}
		f.mustSync(t, firewall.Rules(c))
		if changed := f.mustSync(t, firewall.Rules(c)); changed != nil {
			t.Errorf("%+v: second Sync changed %q; want nothing", c, changed)
		}
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	c := f.dial(t)
	for _, tab := range []*nft.Table{{Name: "filter", Family: nft.TableFamilyIPv4}, {Name: "percale", Family: nft.TableFamilyIPv6}, {Name: "percale2", Family: nft.TableFamilyINet}} {
		c.AddTable(tab)
		ch := forwardChain()
		ch.Table = tab
		c.AddChain(ch)
		c.AddRule(&nft.Rule{Table: tab, Chain: ch, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}})
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	_, before := f.state(t, all)
	others := func(t *nft.Table) bool { return t.Name != "percale" || t.Family != nft.TableFamilyINet }
	check := func(when string, only func(*nft.Table) bool) {
		t.Helper()
		if _, after := f.state(t, only); after != before {
			t.Errorf("%s: tables are\n%s\nwant\n%s", when, after, before)
		}
	}
	less := config()
	less.TunnelPort = 0
	f.mustSync(t, firewall.Rules(config()))
	check("after Sync", others)
	f.mustSync(t, firewall.Rules(less))
	check("after another Sync", others)
	if changed := f.mustSync(t, firewall.Ruleset{}); !slices.Equal(changed, []string{"table: not wanted"}) {
		t.Errorf("Sync with no rules changed %q; want the table to go", changed)
	}
	check("after Sync with no rules", all)
	f.mustSync(t, firewall.Rules(config()))
	for range 2 {
		if err := f.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("after Clear", all)
	}
}

func TestSupportedChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	gen, _ := f.state(t, all)
	if err := Supported(f.ns.Name()); err != nil {
		t.Fatal(err)
	}
	if gen2, dump := f.state(t, all); gen2 != gen || dump != "" {
		t.Errorf("after Supported, generation %d and tables %q; want %d and none", gen2, dump, gen)
	}
}

func TestOpenWithoutNamespace(t *testing.T) {
	t.Parallel()
	if _, err := Open("/run/netns/no-such-namespace", "percale"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of an absent namespace: %v; want %v", err, fs.ErrNotExist)
	}
	f, err := Open("", "percale")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestCancelledSyncWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Sync(ctx, firewall.Rules(config())); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync = %v; want %v", err, context.Canceled)
	}
	if _, dump := f.state(t, all); dump != "" {
		t.Errorf("tables after it: %q; want none", dump)
	}
}

func testTable() *nft.Table { return (&Firewall{table: "percale"}).nftTable() }

func forwardChain() *nft.Chain {
	ch := base(firewall.Forward)
	ch.Table = testTable()
	return ch
}

// Two networks on one host each have an agent, and neither undoes the other.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	other, err := Open(f.ns.Name(), "percale-blue")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i := range 3 {
		for _, one := range []*Firewall{f, other} {
			if changed := one.mustSync(t, firewall.Rules(config())); changed != nil && i > 0 {
				t.Errorf("%s had to repair %q beside another instance", one.table, changed)
			}
		}
	}
	if err := f.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if changed := other.mustSync(t, firewall.Rules(config())); changed != nil {
		t.Errorf("clearing one instance took %q from the other", changed)
	}
}
