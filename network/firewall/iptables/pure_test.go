// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/network/firewall"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func config() firewall.Config {
	return firewall.Config{
		Families: []firewall.Pods{
			{Network: netip.MustParsePrefix("10.244.0.0/15"), Subnet: netip.MustParsePrefix("10.244.1.0/24")},
			{Network: netip.MustParsePrefix("fd00:10:244::/56"), Subnet: netip.MustParsePrefix("fd00:10:244:1::/64")},
		},
		Masquerade: true, RandomFully: true, Forward: true, TunnelPort: 8472,
	}
}

var tables = []string{"raw", "filter", "nat"}

// in returns the places of one table.
func in(name string, wants []place) []place {
	return slices.DeleteFunc(slices.Clone(wants), func(p place) bool { return p.table != name })
}

func TestGolden(t *testing.T) {
	for name, fam := range map[string]firewall.Family{"ipv4": firewall.IPv4, "ipv6": firewall.IPv6} {
		var b strings.Builder
		for _, table := range tables {
			b.WriteString(markOf("percale").plan(table, nil, in(table, markOf("percale").wanted(firewall.Rules(config()), fam))).text(table))
		}
		file := "testdata/" + name + ".golden"
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || b.String() != string(want) {
			t.Errorf("%s: script =\n%s\n%v; want\n%s", name, b.String(), err, want)
		}
	}
}

func TestFamilyWithoutRulesHasNoChains(t *testing.T) {
	c := config()
	c.Families = c.Families[:1]
	if got := markOf("percale").wanted(firewall.Rules(c), firewall.IPv6); got != nil {
		t.Errorf("IPv6 chains of an IPv4 cluster = %v; want none", got)
	}
	c = config()
	c.Families[1].Subnet = netip.Prefix{} // nothing is masqueraded yet
	if got := in("nat", markOf("percale").wanted(firewall.Rules(c), firewall.IPv6)); len(got) != 0 {
		t.Errorf("IPv6 NAT chains without a subnet = %v; want none", got)
	}
}

func TestPlan(t *testing.T) {
	p := place{table: "filter", chain: "PERCALE-FWD", from: "FORWARD", first: true, rules: []string{"-s 10.0.0.0/8 -j ACCEPT", "-d 10.0.0.0/8 -j ACCEPT"}}
	late := p
	late.first = false
	jump := p.jump()
	for name, tc := range map[string]struct {
		have    table
		place   *place // nil: nothing wanted
		changed string
		text    string
	}{
		"as wanted": {table{"FORWARD": {jump}, p.chain: p.rules}, &p, "", ""},
		"others first": {table{"FORWARD": {"-j DOCKER-USER", `-m comment --comment "-j DROP" -j ACCEPT`, jump, "-j DROP"},
			p.chain: p.rules}, &p, "", ""},
		"nothing there": {nil, &p,
			"chain PERCALE-FWD: missing; jump from FORWARD to PERCALE-FWD missing",
			":PERCALE-FWD - [0:0]\n-A PERCALE-FWD -s 10.0.0.0/8 -j ACCEPT\n-A PERCALE-FWD -d 10.0.0.0/8 -j ACCEPT\n-I FORWARD 1 " + jump},
		"rule gone": {table{"FORWARD": {jump}, p.chain: p.rules[:1]}, &p, "chain PERCALE-FWD: 1 of 2 rules missing",
			":PERCALE-FWD - [0:0]\n-A PERCALE-FWD -s 10.0.0.0/8 -j ACCEPT\n-A PERCALE-FWD -d 10.0.0.0/8 -j ACCEPT"},
		"after a drop": {table{"FORWARD": {"-s 192.0.2.0/24 -j DROP", jump}, p.chain: p.rules}, &p,
			"jump from FORWARD to PERCALE-FWD comes after a DROP or REJECT",
			"-D FORWARD " + jump + "\n-I FORWARD 1 " + jump},
		"after a drop that does not matter": {table{"FORWARD": {"-j DROP", jump}, p.chain: p.rules}, &late, "", ""},
		"twice": {table{"FORWARD": {jump, jump}, p.chain: p.rules}, &p, "jump from FORWARD to PERCALE-FWD is there 2 times",
			"-D FORWARD " + jump + "\n-D FORWARD " + jump + "\n-I FORWARD 1 " + jump},
		"other jump": {table{"FORWARD": {"-i eth0 -j PERCALE-FWD"}, p.chain: p.rules}, &late, "jump from FORWARD to PERCALE-FWD has other conditions",
			"-D FORWARD -i eth0 -j PERCALE-FWD\n-A FORWARD " + jump},
		"jump from elsewhere": {table{"INPUT": {"-g PERCALE-FWD"}, "FORWARD": {jump}, p.chain: p.rules}, &p,
			"jump from INPUT to PERCALE-FWD not wanted", "-D INPUT -g PERCALE-FWD"},
		"chains of old": {table{"FORWARD": {"-j PERCALE-A", jump}, p.chain: p.rules, "PERCALE-A": {"-j PERCALE-B"}, "PERCALE-B": {}}, &p,
			"jump from FORWARD to PERCALE-A not wanted; chain PERCALE-A not wanted; chain PERCALE-B not wanted",
			"-D FORWARD -j PERCALE-A\n-F PERCALE-A\n-F PERCALE-B\n-X PERCALE-A\n-X PERCALE-B"},
		"nothing wanted": {table{"FORWARD": {jump, "-j ACCEPT"}, p.chain: p.rules}, nil,
			"jump from FORWARD to PERCALE-FWD not wanted; chain PERCALE-FWD not wanted",
			"-D FORWARD " + jump + "\n-F PERCALE-FWD\n-X PERCALE-FWD"},
		"others alone": {table{"FORWARD": {"-j KUBE-FORWARD"}, "KUBE-FORWARD": {"-j DROP"}}, nil, "", ""},
	} {
		var wants []place
		if tc.place != nil {
			wants = append(wants, *tc.place)
		}
		s := markOf("percale").plan("filter", tc.have, wants)
		if got := strings.ReplaceAll(strings.Join(s.changed, "; "), "table filter: ", ""); got != tc.changed {
			t.Errorf("%s: changed %q; want %q", name, got, tc.changed)
		}
		want := ""
		if tc.text != "" {
			want = "*filter\n" + tc.text + "\nCOMMIT\n"
		}
		if got := s.text("filter"); got != want {
			t.Errorf("%s: script =\n%swant\n%s", name, got, want)
		}
	}
}

func TestKnownListingIsNoDrift(t *testing.T) {
	p := place{table: "raw", chain: "PERCALE-PRE", from: "PREROUTING",
		rules: []string{`-m comment --comment "a b" -j CT --notrack`}, shows: []string{`-m comment --comment "a b" -j CT  --notrack`}}
	have := table{"PREROUTING": {p.jump()}, p.chain: p.shows}
	if s := markOf("percale").plan("raw", have, []place{p}); s.changed != nil {
		t.Errorf("plan changed %q; want nothing", s.changed)
	}
	for other, want := range map[string]bool{
		`-m comment --comment "a b" -j CT  --notrack`:     true,
		`-m comment --comment "a c" -j CT --notrack`:      false,
		`-m comment --comment "a b" -j ACCEPT`:            false,
		`-j CT --notrack -p udp -m comment --comment "a"`: false,
	} {
		if got := sameComments(p.rules, []string{other}); got != want {
			t.Errorf("same comments in %q = %v; want %v", other, got, want)
		}
	}
	if sameComments(p.rules, nil) {
		t.Error("no rules are the same as one; want not")
	}
}

func TestMark(t *testing.T) {
	const long = "percale-a-very-long-name-indeed"
	for instance, want := range map[string]string{
		"percale": "PERCALE-", "percale-blue": "PERCALE-BLUE-", long: "PERCALE-A-VERY",
	} {
		m := markOf(instance)
		if !strings.HasPrefix(string(m), want) || len(m) > maxMark || !m.owns(string(m)+"FWD") {
			t.Errorf("mark of %q = %q; want %q first, and at most %d bytes", instance, m, want, maxMark)
		}
	}
	if markOf("percale").owns("PERCALE-BLUE-FWD") || markOf("percale-blue").owns("PERCALE-FWD") {
		t.Error("an instance takes another's chain for its own")
	}
	if markOf(long) == markOf("percale-a-very-long-name-instead") {
		t.Error("two long names have one mark")
	}
}
