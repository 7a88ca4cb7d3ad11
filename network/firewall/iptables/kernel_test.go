// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall"
)

// A host is a namespace with one variant of iptables.
type host struct {
	*Firewall
	ns netns.NS
}

// onEach runs a test with each variant of iptables that this machine has, in a
// namespace of its own.
func onEach(t *testing.T, test func(t *testing.T, h host)) {
	for _, variant := range []string{"", "nft", "legacy"} {
		t.Run("iptables "+variant, func(t *testing.T) {
			t.Parallel()
			if _, err := find(firewall.IPv4, variant); err != nil {
				t.Skip(err)
			}
			test(t, host{OpenVariant("percale", variant), netns.Temp(t)})
		})
	}
}

func (h host) sync(t *testing.T, r firewall.Ruleset) (changed []string) {
	t.Helper()
	err := h.ns.Do(func() (err error) {
		changed, err = h.Sync(t.Context(), r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// run runs one iptables command line, "6" first for IPv6.
func (h host) run(t *testing.T, line string) string {
	t.Helper()
	tool := "iptables"
	if strings.HasPrefix(line, "6 ") {
		tool, line = "ip6tables", line[2:]
	}
	if h.variant != "" {
		tool += "-" + h.variant
	}
	suffix, args := "", strings.Fields(line)
	if args[0] == "save" {
		suffix, args = "-save", args[1:]
	} else {
		args = append(args, "-w", "10")
	}
	out, err := h.ns.Output(tool+suffix, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rules returns what all tables hold. It leaves out empty built-in chains,
// which iptables makes by itself and keeps.
func (h host) rules(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, line := range []string{"save", "6 save"} {
		l := parse(h.run(t, line))
		fmt.Fprintf(&b, "%s\n", line)
		for _, name := range tables {
			maps.DeleteFunc(l.tables[name], func(chain string, rules []string) bool {
				return len(rules) == 0 && strings.Contains("PREROUTING INPUT FORWARD OUTPUT POSTROUTING", chain)
			})
			fmt.Fprintf(&b, "%s %v\n", name, l.tables[name])
		}
	}
	return b.String()
}

func TestSyncTwiceWritesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h host) {
		changed := h.sync(t, firewall.Rules(config()))
		if want := "IPv6 table nat: chain PERCALE-POSTRTG: missing"; !slices.Contains(changed, want) {
			t.Errorf("first Sync changed %q; want %q among it", changed, want)
		}
		before := h.rules(t)
		again := host{OpenVariant("percale", h.variant), h.ns} // as after a restart
		again.sync(t, firewall.Rules(config()))
		for fam, tool := range again.tools {
			tool.restore = "/nonexistent" // writing would be an error
			again.tools[fam] = tool
		}
		if changed := again.sync(t, firewall.Rules(config())); changed != nil {
			t.Errorf("next Sync changed %q; want nothing", changed)
		}
		if after := h.rules(t); after != before {
			t.Errorf("rules are\n%s\nwant\n%s", after, before)
		}
	})
}

func TestEachConfigIsListedAsWritten(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h host) {
		for bits := range 16 {
			c := config()
			c.Masquerade, c.RandomFully, c.Forward = bits&1 != 0, bits&2 != 0, bits&4 != 0
			if bits&8 != 0 {
				c.TunnelPort, c.Families = 0, c.Families[1:]
			}
			h.sync(t, firewall.Rules(c))
			if changed := h.sync(t, firewall.Rules(c)); changed != nil || len(h.shows) != 0 {
				t.Errorf("%+v: second Sync changed %q, learned %v; want nothing", c, changed, h.shows)
			}
		}
	})
}

func TestSyncRepairs(t *testing.T) {
	t.Parallel()
	const fwd = "-m comment --comment percale -j PERCALE-FWD"
	cases := map[string]struct {
		tamper string // lines, joined by ;
		want   string // "" if it is none of our business
		undo   string // what else is to be undone, lines
	}{
		"rule deleted":        {"-t filter -D PERCALE-FWD 1", "IPv4 table filter: chain PERCALE-FWD: 1 of 2 rules missing", ""},
		"IPv6 rule deleted":   {"6 -t nat -D PERCALE-POSTRTG 2", "IPv6 table nat: chain PERCALE-POSTRTG: 1 of 6 rules missing", ""},
		"rule inserted":       {"-t nat -I PERCALE-POSTRTG 1 -j ACCEPT", "IPv4 table nat: chain PERCALE-POSTRTG: 1 rule not ours", ""},
		"rule replaced":       {"-t raw -R PERCALE-PRE 1 -p udp -j DROP", "IPv4 table raw: chain PERCALE-PRE: 1 of 1 rules missing, 1 not ours", ""},
		"chain flushed":       {"-t nat -F PERCALE-POSTRTG", "IPv4 table nat: chain PERCALE-POSTRTG: 6 of 6 rules missing", ""},
		"jump deleted":        {"-D FORWARD " + fwd, "IPv4 table filter: jump from FORWARD to PERCALE-FWD missing", ""},
		"jump twice":          {"-A FORWARD " + fwd, "IPv4 table filter: jump from FORWARD to PERCALE-FWD is there 2 times", ""},
		"jump after a drop":   {"-I FORWARD 1 -s 192.0.2.0/24 -j DROP", "IPv4 table filter: jump from FORWARD to PERCALE-FWD comes after a DROP or REJECT", "-D FORWARD -s 192.0.2.0/24 -j DROP"},
		"jump after another":  {"-N OTHERS;-I FORWARD 1 -j OTHERS", "", "-D FORWARD -j OTHERS;-X OTHERS"},
		"drop after the jump": {"-A FORWARD -j DROP", "", "-D FORWARD -j DROP"},
		"policy of others":    {"-P FORWARD DROP", "", "-P FORWARD ACCEPT"},
		"chain of ours, old":  {"-N PERCALE-OLD;-A INPUT -j PERCALE-OLD;-A PERCALE-OLD -j PERCALE-FWD", "IPv4 table filter: chain PERCALE-OLD not wanted", ""},
		"all flushed":         {"-t nat -F;-t nat -X;-F;-X", "IPv4 table filter: chain PERCALE-FWD: missing", ""},
	}
	onEach(t, func(t *testing.T, h host) {
		for name, tc := range cases {
			h.sync(t, firewall.Rules(config()))
			before := h.rules(t)
			for line := range strings.SplitSeq(tc.tamper, ";") {
				h.run(t, line)
			}
			tampered := h.rules(t)
			changed := h.sync(t, firewall.Rules(config()))
			switch {
			case tc.want == "" && (changed != nil || h.rules(t) != tampered):
				t.Errorf("%s: Sync changed %q; want nothing", name, changed)
			case tc.want != "" && !slices.Contains(changed, tc.want):
				t.Errorf("%s: Sync changed %q; want %q", name, changed, tc.want)
			}
			if changed := h.sync(t, firewall.Rules(config())); changed != nil {
				t.Errorf("%s: the Sync after it changed %q; want nothing", name, changed)
			}
			for line := range strings.SplitSeq(tc.undo, ";") {
				if line != "" {
					h.run(t, line)
				}
			}
			if after := h.rules(t); after != before {
				t.Errorf("%s: rules after it are\n%s\nwant\n%s", name, after, before)
			}
		}
	})
}

func TestOthersAreLeftAloneAndClearLeavesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h host) {
		for _, line := range []string{
			"-t nat -N KUBE-POSTROUTING", "-t nat -A POSTROUTING -j KUBE-POSTROUTING", "-t nat -A KUBE-POSTROUTING -j RETURN",
			"-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-A FORWARD -s 192.0.2.0/24 -j DROP", "-P FORWARD DROP",
			"6 -t raw -A PREROUTING -s 2001:db8::/32 -j ACCEPT",
		} {
			h.run(t, line)
		}
		before := h.rules(t)
		clear := func() {
			t.Helper()
			if err := h.ns.Do(func() error { return h.Clear(t.Context()) }); err != nil {
				t.Fatal(err)
			}
		}
		for _, undo := range []func(){clear, func() { h.sync(t, firewall.Ruleset{}) }, clear} {
			h.sync(t, firewall.Rules(config()))
			if got := h.rules(t); !strings.Contains(got, "PERCALE-") || !strings.Contains(got, "DOCKER-USER") {
				t.Fatalf("rules after Sync are\n%s", got)
			}
			undo()
			after := h.rules(t)
			if after != before {
				t.Errorf("rules are\n%s\nwant\n%s", after, before)
			}
		}
		clear() // once more, with nothing there
	})
}

// Two networks on one host each have an agent, and neither undoes the other.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h host) {
		other := host{OpenVariant("percale-blue", h.variant), h.ns}
		h.sync(t, firewall.Rules(config()))
		other.sync(t, firewall.Rules(config()))
		for range 2 {
			for _, one := range []host{h, other} {
				if changed := one.sync(t, firewall.Rules(config())); changed != nil {
					t.Errorf("%s had to repair %q beside another instance", one.mark, changed)
				}
			}
		}
		if err := h.ns.Do(func() error { return h.Clear(t.Context()) }); err != nil {
			t.Fatal(err)
		}
		if changed := other.sync(t, firewall.Rules(config())); changed != nil {
			t.Errorf("clearing one instance took %q from the other", changed)
		}
	})
}
