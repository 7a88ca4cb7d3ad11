// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// withNFT passes fn a connection to the packet filter of a namespace.
func withNFT(ns netns.NS, fn func(*nft.Conn) error) error {
	f, err := os.Open(ns.Path())
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := nft.New(nft.WithNetNSFd(int(f.Fd())))
	if err != nil {
		return err
	}
	return fn(c)
}

// flushRuleset does what "nft flush ruleset" does: it removes every table of
// every family, whoever made it.
func flushRuleset(t *testing.T, ns netns.NS) {
	t.Helper()
	if err := withNFT(ns, flushAll); err != nil {
		t.Fatalf("flush ruleset: %v", err)
	}
}

func flushAll(c *nft.Conn) error {
	c.FlushRuleset()
	return c.Flush()
}

// nftRules shows every table of nftables, apart from those that iptables shows.
func nftRules(t *testing.T, ns netns.NS) string {
	t.Helper()
	var out string
	look := func() error {
		return withNFT(ns, func(c *nft.Conn) (err error) {
			out, err = nftDump(c)
			return err
		})
	}
	// What goes while it is read makes the reading fail; then once more.
	if err := eventually(t, limit, look); err != nil {
		t.Fatalf("read nftables: %v", err)
	}
	return out
}

func nftDump(c *nft.Conn) (string, error) {
	tables, err := c.ListTables()
	if err != nil {
		return "", err
	}
	chains, err := c.ListChains()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, table := range tables {
		if ofIptables(table) {
			continue
		}
		name := fmt.Sprintf("family %d table %s", table.Family, table.Name)
		fmt.Fprintf(&b, "%s flags %d\n", name, table.Flags)
		for _, ch := range chains {
			if ch.Table.Name != table.Name || ch.Table.Family != table.Family {
				continue
			}
			rules, err := c.GetRules(ch.Table, ch)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%s chain %s %s\n", name, ch.Name, chainHead(ch))
			for i, r := range rules {
				fmt.Fprintf(&b, "%s chain %s %3d %s\n", name, ch.Name, i, ruleText(r))
			}
		}
		if err := dumpSets(&b, c, table); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func ofIptables(t *nft.Table) bool {
	return (t.Family == unix.NFPROTO_IPV4 || t.Family == unix.NFPROTO_IPV6) &&
		slices.Contains([]string{"filter", "nat", "mangle", "raw", "security"}, t.Name)
}

func chainHead(ch *nft.Chain) string {
	if ch.Hooknum == nil {
		return "no hook"
	}
	policy := nft.ChainPolicyAccept
	if ch.Policy != nil {
		policy = *ch.Policy
	}
	return fmt.Sprintf("type %s hook %d priority %d policy %d", ch.Type, *ch.Hooknum, *ch.Priority, policy)
}

func ruleText(r *nft.Rule) string {
	var words []string
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter: // it counts packets
		case *expr.Dynset: // what it does with each element is elsewhere in memory each time
			plain := *e
			plain.Exprs = nil
			words = append(words, fmt.Sprintf("%#v with %d more", &plain, len(e.Exprs)))
		default:
			words = append(words, fmt.Sprintf("%#v", e))
		}
	}
	return strings.Join(words, " ") + fmt.Sprintf(" %q", r.UserData)
}

func dumpSets(b *strings.Builder, c *nft.Conn, table *nft.Table) error {
	sets, err := c.GetSets(table)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	for _, s := range sets {
		if s.Dynamic || s.HasTimeout {
			continue // packets fill it
		}
		elements, err := c.GetSetElements(s)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "family %d table %s set %s\n", table.Family, table.Name, s.Name)
		for _, e := range elements {
			fmt.Fprintf(b, "family %d table %s set %s element %x %x\n", table.Family, table.Name, s.Name, e.Key, e.Val)
		}
	}
	return nil
}

// counts is where iptables-save shows how much a chain has seen.
var counts = regexp.MustCompile(` \[\d+:\d+\]$`)

// iptablesRules shows what iptables or ip6tables has, a table's name before each
// line. A table without rules is as good as none.
func iptablesRules(t *testing.T, ns netns.NS, tool string) string {
	t.Helper()
	var b strings.Builder
	table, at := "", make(map[string]int)
	for line := range strings.Lines(run(t, ns, tool)) {
		line = counts.ReplaceAllString(strings.TrimSpace(line), "")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case line == "COMMIT", strings.HasPrefix(line, "#"), strings.HasSuffix(line, " ACCEPT") && line[0] == ':':
		case strings.HasPrefix(line, "-A "): // their order counts
			chain := table + strings.Fields(line)[1]
			at[chain]++
			fmt.Fprintf(&b, "%s %s %3d %s\n", table, strings.Fields(line)[1], at[chain], line)
		default:
			fmt.Fprintf(&b, "%s %s\n", table, line)
		}
	}
	return b.String()
}
