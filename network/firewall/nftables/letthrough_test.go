// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	nft "github.com/google/nftables"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall"
)

const (
	from4 = `-A FORWARD -s 10.244.0.0/15 -m comment --comment "percale: from a pod" -j ACCEPT`
	to4   = `-A FORWARD -d 10.244.0.0/15 -m comment --comment "percale: to a pod" -j ACCEPT`
)

// withIPTables returns a firewall that has written its rules, and what runs
// iptables in its namespace.
func withIPTables(t *testing.T) (f *Firewall, run func(line string) string) {
	t.Helper()
	if _, err := exec.LookPath("iptables-nft"); err != nil {
		t.Fatalf("%v: apt-get install iptables", err)
	}
	ns := netns.Temp(t)
	f, err := Open(ns.Path(), "percale")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.mustSync(t, firewall.Rules(config()))
	return f, func(line string) string {
		t.Helper()
		words := strings.Fields(line)
		out, err := ns.Output(words[0], words[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// forwardOf returns what iptables shows of FORWARD, and fails the test unless
// it could show all of it.
func forwardOf(t *testing.T, run func(line string) string) []string {
	t.Helper()
	if save := run("iptables-nft-save"); strings.Contains(save, "incompatible") {
		t.Errorf("iptables-save shows\n%s; want all that there is", save)
	}
	return strings.Split(strings.TrimSpace(run("iptables-nft -S FORWARD")), "\n")
}

func TestIPTablesLetsThrough(t *testing.T) {
	t.Parallel()
	const reject, drop = "-A FORWARD -j REJECT --reject-with icmp-host-prohibited", "-A FORWARD -j DROP"
	const policy, accept, web = "-P FORWARD DROP", "-P FORWARD ACCEPT", "-A FORWARD -p tcp -m tcp --dport 80 -j DROP"
	const site, toSite = "-A site -p udp -j ACCEPT", "-A FORWARD -j site"
	for name, tc := range map[string]struct {
		lines []string // of others
		want  []string // of FORWARD
	}{
		"nothing":                   {[]string{}, []string{accept}},
		"nothing dropped":           {[]string{web}, []string{accept, web}},
		"policy":                    {[]string{policy}, []string{policy, from4, to4}},
		"policy, rules":             {[]string{web, policy}, []string{policy, web, from4, to4}},
		"reject":                    {[]string{web, reject}, []string{accept, web, from4, to4, reject}},
		"reject, policy":            {[]string{reject, policy}, []string{policy, from4, to4, reject}},
		"two drops":                 {[]string{web, drop, reject}, []string{accept, web, from4, to4, drop, reject}},
		"all accepted before":       {[]string{"-A FORWARD -j ACCEPT", reject}, []string{accept, "-A FORWARD -j ACCEPT", reject}},
		"return":                    {[]string{policy, "-A FORWARD -j RETURN"}, []string{policy, from4, to4, "-A FORWARD -j RETURN"}},
		"chain that drops all":      {[]string{"-N site", "-A site -j LOG", "-A site -j DROP", toSite}, []string{accept, from4, to4, toSite}},
		"chain that drops some":     {[]string{"-N site", "-A site -p udp -j DROP", toSite, policy}, []string{policy, toSite, from4, to4}},
		"chain that decides some":   {[]string{"-N site", site, toSite, policy}, []string{policy, toSite, from4, to4}},
		"chain that decides all":    {[]string{"-N site", site, "-A site -j REJECT", toSite, policy}, []string{policy, toSite}},
		"chain that is gone to":     {[]string{"-N site", "-A site -p udp -j DROP", "-A FORWARD -g site", policy}, []string{policy, from4, to4, "-A FORWARD -g site"}},
		"gone to, and decides some": {[]string{"-N site", site, "-A FORWARD -g site", policy}, []string{policy, "-A FORWARD -g site"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, run := withIPTables(t)
			for _, line := range tc.lines {
				run("iptables-nft " + line)
			}
			f.mustSync(t, firewall.Rules(config()))
			if got := forwardOf(t, run); !slices.Equal(got, tc.want) {
				t.Errorf("FORWARD is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
			if changed := f.mustSync(t, firewall.Rules(config())); changed != nil {
				t.Errorf("the next Sync changed %q; want nothing", changed)
			}
			if err := f.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := run("iptables-nft -S"); strings.Contains(got, "percale") || len(tc.lines) > 0 && !strings.Contains(got, tc.lines[0]) {
				t.Errorf("after Clear, the rules are\n%s\nwant those of others alone", got)
			}
		})
	}
}

// What others do after ours stands: nothing of theirs is lost, and ours come
// where they belong.
func TestIPTablesAfterUs(t *testing.T) {
	t.Parallel()
	f, run := withIPTables(t)
	run("iptables-nft -P FORWARD DROP")
	f.mustSync(t, firewall.Rules(config()))
	for _, tc := range []struct {
		do      string
		changed string
		want    []string
	}{
		{"iptables-nft -A FORWARD -p tcp -j DROP", "", []string{"-P FORWARD DROP", from4, to4, "-A FORWARD -p tcp -j DROP"}},
		{"iptables-nft -I FORWARD -p udp -j LOG", "",
			[]string{"-P FORWARD DROP", "-A FORWARD -p udp -j LOG", from4, to4, "-A FORWARD -p tcp -j DROP"}},
		{"iptables-nft -I FORWARD 2 -j REJECT", "2 of 2 rules for pods behind one that drops", []string{"-P FORWARD DROP",
			"-A FORWARD -p udp -j LOG", from4, to4, "-A FORWARD -j REJECT --reject-with icmp-port-unreachable", "-A FORWARD -p tcp -j DROP"}},
		{"iptables-nft -D FORWARD 3", "1 of 2 rules for pods missing", []string{"-P FORWARD DROP",
			"-A FORWARD -p udp -j LOG", from4, to4, "-A FORWARD -j REJECT --reject-with icmp-port-unreachable", "-A FORWARD -p tcp -j DROP"}},
		{"iptables-nft -F FORWARD", "2 of 2 rules for pods missing", []string{"-P FORWARD DROP", from4, to4}},
		{"iptables-nft -A FORWARD -p udp -m comment --comment percale-blue:other -j ACCEPT", "",
			[]string{"-P FORWARD DROP", from4, to4, `-A FORWARD -p udp -m comment --comment "percale-blue:other" -j ACCEPT`}},
		{"iptables-nft -F FORWARD", "2 of 2 rules for pods missing", []string{"-P FORWARD DROP", from4, to4}},
		{"iptables-nft -P FORWARD ACCEPT", "2 rules for pods not wanted", []string{"-P FORWARD ACCEPT"}},
	} {
		run(tc.do)
		want := []string(nil)
		if tc.changed != "" {
			want = []string{"table ip filter, chain FORWARD: " + tc.changed}
		}
		if changed := f.mustSync(t, firewall.Rules(config())); !slices.Equal(changed, want) {
			t.Errorf("after %q, Sync changed %q; want %q", tc.do, changed, want)
		}
		if got := forwardOf(t, run); !slices.Equal(got, tc.want) {
			t.Errorf("after %q, FORWARD is\n%s\nwant\n%s", tc.do, strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
		}
	}
}

// Rules of ours that iptables wrote again are ours.
func TestIPTablesRestoresOurs(t *testing.T) {
	t.Parallel()
	f, run := withIPTables(t)
	run("iptables-nft -P FORWARD DROP")
	args := exec.Command("iptables-nft", "-A", "FORWARD", "-s", "10.244.0.0/15", "-m", "comment", "--comment", "percale: from a pod", "-j", "ACCEPT")
	if err := inside(f.ns, args.Run); err != nil {
		t.Fatal(err)
	}
	f.mustSync(t, firewall.Rules(config()))
	if got, want := forwardOf(t, run), []string{"-P FORWARD DROP", from4, to4}; !slices.Equal(got, want) {
		t.Errorf("FORWARD is %q; want %q", got, want)
	}
}

// Networks that end on a byte's border are those that iptables itself would
// write in other words.
func TestIPTablesFindsOurs(t *testing.T) {
	t.Parallel()
	f, run := withIPTables(t)
	c := config()
	for i, p := range []string{"10.0.0.0/8", "fd00::/16"} {
		c.Families[i].Network = netip.MustParsePrefix(p)
		tool := []string{"iptables-nft", "ip6tables-nft"}[i]
		run(tool + " -P FORWARD DROP")
		f.mustSync(t, firewall.Rules(c))
		want := []string{
			"-P FORWARD DROP",
			"-A FORWARD -s " + p + ` -m comment --comment "percale: from a pod" -j ACCEPT`,
			"-A FORWARD -d " + p + ` -m comment --comment "percale: to a pod" -j ACCEPT`,
		}
		if got := strings.Split(strings.TrimSpace(run(tool+" -S FORWARD")), "\n"); !slices.Equal(got, want) {
			t.Errorf("%s shows %q; want %q", tool, got, want)
		}
		for _, what := range []string{"-C", "-D"} {
			cmd := exec.Command(tool, what, "FORWARD", "-s", p, "-m", "comment", "--comment", "percale: from a pod", "-j", "ACCEPT")
			if err := inside(f.ns, cmd.Run); err != nil {
				t.Errorf("%s: %v; want the rule to be found", cmd, err)
			}
		}
	}
}

// What flannel leaves behind is named, and nothing else.
func TestFlannelLeft(t *testing.T) {
	t.Parallel()
	f, run := withIPTables(t)
	for _, line := range []string{"iptables-nft -N FLANNEL-FWD", "ip6tables-nft -t nat -N FLANNEL-POSTRTG", "iptables-nft -N FLANNEL-POSTRTG", "iptables-nft -N KUBE-FORWARD"} {
		run(line)
	}
	c := f.dial(t)
	c.AddTable(&nft.Table{Name: "flannel-ipv4", Family: nft.TableFamilyIPv4})
	c.AddTable(&nft.Table{Name: "flannel-ipv6", Family: nft.TableFamilyIPv4}) // not as flannel has it
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	f.mustSync(t, firewall.Rules(config()))
	want := []string{
		"nft delete table ip flannel-ipv4",
		`iptables -t filter -D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD; iptables -t filter -F FLANNEL-FWD; iptables -t filter -X FLANNEL-FWD`,
		`ip6tables -t nat -D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG; ip6tables -t nat -F FLANNEL-POSTRTG; ip6tables -t nat -X FLANNEL-POSTRTG`,
	}
	if got := f.FlannelLeft(); !slices.Equal(got, want) {
		t.Errorf("FlannelLeft = %q; want %q", got, want)
	}
}

func TestOtherNetworksOtherRules(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	c := f.dial(t)
	others(c, nft.TableFamilyINet)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	one, off := config(), config()
	one.Families, off.Forward = one.Families[:1], false
	for _, tc := range []struct {
		config firewall.Config
		want   int
	}{{config(), 4}, {one, 2}, {off, 0}, {config(), 4}} {
		f.mustSync(t, firewall.Rules(tc.config))
		rules, err := c.GetRules(&nft.Table{Name: "site", Family: nft.TableFamilyINet}, &nft.Chain{Name: "forward"})
		if err != nil {
			t.Fatal(err)
		}
		if len(rules) != tc.want {
			t.Errorf("there are %d rules for pods of %v; want %d", len(rules), tc.config, tc.want)
		}
	}
}

func TestOnlyConditionsOfAddressesAreLet(t *testing.T) {
	t.Parallel()
	r := firewall.Rules(config())
	if got := letting(r); len(got) != 4 {
		t.Errorf("%d rules let pods through; want from and to, of two families: %v", len(got), got)
	}
	if got := letting(firewall.Ruleset{}); got != nil {
		t.Errorf("no rules let %v through", got)
	}
}
