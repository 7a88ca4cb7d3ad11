// SPDX-License-Identifier: Apache-2.0

package verdicttest

import (
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/percale-net/percale/network/firewall"
)

// What others do to what is forwarded, by iptables of the same variant.
var drops = []struct {
	name  string
	lines []string
}{
	{"policy", []string{"-P FORWARD DROP"}},
	{"policy, behind other rules", []string{"-A FORWARD -m conntrack --ctstate INVALID -j ACCEPT", "-P FORWARD DROP"}},
	{"a last rule that rejects", []string{"-A FORWARD -m conntrack --ctstate INVALID -j ACCEPT", "-A FORWARD -j REJECT"}},
	{"a first rule that drops", []string{"-I FORWARD -j DROP"}},
	{"one with a comment, in front of others", []string{"-I FORWARD -m comment --comment no -j REJECT", "-A FORWARD -j LOG"}},
	{"a chain that does nothing else", []string{"-N site", "-A site -j LOG", "-A site -j DROP", "-A FORWARD -j site"}},
	{"both", []string{"-A FORWARD -j REJECT", "-P FORWARD DROP"}},
}

func TestOthersDropPods(t *testing.T) {
	t.Parallel()
	rules := firewall.Rules(config())
	onEach(t, func(t *testing.T, w *world, r renderer) {
		both := func(lines ...string) {
			t.Helper()
			for _, line := range lines {
				for _, tool := range []string{"iptables", "ip6tables"} {
					if r.name == "iptables-legacy" {
						tool += "-legacy"
					}
					if _, err := w.node.Output(tool, append([]string{"-w"}, strings.Fields(line)...)...); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if _, err := r.sync(t.Context(), rules); err != nil {
			t.Fatal(err)
		}
		for _, tc := range drops {
			both(tc.lines...)
			for i := range 2 {
				if changed, err := r.sync(t.Context(), rules); err != nil || changed != nil && i > 0 {
					t.Errorf("%s: Sync %d changed %q, %v; want the second to change nothing", tc.name, i+1, changed, err)
				}
			}
			for _, f := range []firewall.Family{firewall.IPv4, firewall.IPv6} {
				forwarded(t, w, rules, f)
			}
			if t.Failed() {
				t.Fatalf("%s: rules are\n%s", tc.name, w.listed(t))
			}
			both("-P FORWARD ACCEPT", "-F")
		}
	})
}

func (w *world) listed(t *testing.T) string {
	t.Helper()
	out, err := w.node.Output("iptables", "-S")
	if err != nil {
		t.Error(err)
	}
	return out
}

// Others decide on certain packets before we let all pods' through.
func TestOthersDecideFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := nftRenderer(t, w.node)
	here, there := place("pod here", firewall.IPv4), place("pod there", firewall.IPv4)
	for _, line := range []string{
		"-A FORWARD -s " + here.String() + " -d " + there.String() + " -j DROP", "-A FORWARD -j REJECT", "-P FORWARD DROP",
	} {
		if _, err := w.node.Output("iptables", strings.Fields(line)...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.sync(t.Context(), firewall.Rules(config())); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.send(t, firewall.Packet{Src: here, Dst: there}, never); ok {
		t.Error("a packet that a rule of others drops arrived; want that rule to decide")
	}
	if _, ok := w.send(t, firewall.Packet{Src: there, Dst: here}, soon); !ok {
		t.Error("another packet did not arrive; want it let through")
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}

// A table for both families, as a firewall that speaks nftables has it.
func TestTableOfOthersDropsPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := nftRenderer(t, w.node)
	rules := firewall.Rules(config())
	err := w.node.Do(func() error {
		var c nft.Conn
		drop := nft.ChainPolicyDrop
		table := c.AddTable(&nft.Table{Name: "site", Family: nft.TableFamilyINet})
		chain := c.AddChain(&nft.Chain{Name: "fwd", Table: table, Type: nft.ChainTypeFilter,
			Hooknum: nft.ChainHookForward, Priority: nft.ChainPriorityRef(10), Policy: &drop})
		c.AddRule(&nft.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Log{}}})
		c.AddRule(&nft.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Reject{Type: 2, Code: 3}}}) // icmpx admin-prohibited
		return c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.sync(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
	for _, f := range []firewall.Family{firewall.IPv4, firewall.IPv6} {
		forwarded(t, w, rules, f)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}
