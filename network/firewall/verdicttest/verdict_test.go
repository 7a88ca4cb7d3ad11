// SPDX-License-Identifier: Apache-2.0

// Package verdicttest sends packets through a node with each kind of firewall,
// and sees that they fare as firewall.Ruleset.Verdict says.
package verdicttest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	nft "github.com/google/nftables"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/iptables"
	"github.com/percale-net/percale/network/firewall/nftables"
)

// A renderer is one kind of firewall in one namespace.
type renderer struct {
	name  string
	sync  func(context.Context, firewall.Ruleset) ([]string, error)
	close func() error
	drop  func() error // makes it so that what nobody accepts is not forwarded
}

// onEach runs a test with each kind of firewall that this machine has; nftables
// must be there.
func onEach(t *testing.T, test func(t *testing.T, w *world, r renderer)) {
	for _, name := range []string{"nftables", "iptables", "iptables-nft", "iptables-legacy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			variant, isIPTables := strings.CutPrefix(name, "iptables")
			if isIPTables {
				if _, err := exec.LookPath(name); err != nil {
					t.Skipf("%v: apt-get install iptables", err)
				}
			}
			w := newWorld(t)
			r := nftRenderer(t, w.node)
			if isIPTables {
				r = iptablesRenderer(w.node, strings.TrimPrefix(variant, "-"))
			}
			r.name = name
			test(t, w, r)
			if err := r.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func nftRenderer(t *testing.T, ns netns.NS) renderer {
	t.Helper()
	if err := nftables.Supported(ns.Path()); err != nil {
		t.Fatal(err)
	}
	f, err := nftables.Open(ns.Path(), "percale")
	if err != nil {
		t.Fatal(err)
	}
	return renderer{sync: f.Sync, close: f.Close, drop: func() error {
		// Accepting ends one chain only, so that it can be seen in ours alone.
		return ns.Do(func() error {
			var c nft.Conn
			drop := nft.ChainPolicyDrop
			c.AddChain(&nft.Chain{
				Name: "forward", Table: &nft.Table{Name: "percale", Family: nft.TableFamilyINet}, Type: nft.ChainTypeFilter,
				Hooknum: nft.ChainHookForward, Priority: nft.ChainPriorityFilter, Policy: &drop,
			})
			return c.Flush()
		})
	}}
}

func iptablesRenderer(ns netns.NS, variant string) renderer {
	f := iptables.OpenVariant("percale", variant)
	if variant != "" {
		variant = "-" + variant
	}
	return renderer{
		close: f.Close,
		sync: func(ctx context.Context, r firewall.Ruleset) (changed []string, err error) {
			err = ns.Do(func() (err error) {
				changed, err = f.Sync(ctx, r)
				return err
			})
			return changed, err
		},
		drop: func() error {
			for _, tool := range []string{"iptables", "ip6tables"} {
				if _, err := ns.Output(tool+variant, "-w", "-P", "FORWARD", "DROP"); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func config() firewall.Config {
	return firewall.Config{
		Families: []firewall.Pods{
			{Network: netip.MustParsePrefix("10.244.0.0/16"), Subnet: netip.MustParsePrefix("10.244.1.0/24")},
			{Network: netip.MustParsePrefix("fd00:10:244::/56"), Subnet: netip.MustParsePrefix("fd00:10:244:1::/64")},
		},
		Masquerade: true, RandomFully: true, Forward: true, TunnelPort: 8472,
	}
}

// The packets, by names of places in a world.
var packets = []struct {
	src, dst string
	mark     uint32
}{
	{"pod here", "outside", 0}, {"pod here", "other outside", 0},
	{"pod here", "pod there", 0}, {"pod there", "pod here", 0},
	{"pod there", "outside", 0},
	{"outside", "pod here", 0}, {"outside", "pod there", 0}, {"outside", "other outside", 0},
	{"other outside", "outside", 0}, {"other outside", "pod here", 0},
	// A mark does not leave its namespace, and groups are not routed: these
	// are sent by the node itself, under its address in the pod subnet.
	{"node", "outside", 0}, {"node", "outside", 0x4000}, {"node", "outside", 0xc001}, {"node", "outside", 0x8000},
	{"node", "pod there", 0}, {"node", "group", 0}, {"node", "group", 0x8000},
}

func place(name string, f firewall.Family) netip.Addr {
	a := map[string][2]string{
		"pod here": {"10.244.1.5", "fd00:10:244:1::5"}, "pod there": {"10.244.2.5", "fd00:10:244:2::5"},
		"outside": {"192.0.2.7", "2001:db8::7"}, "other outside": {"198.51.100.1", "2001:db8:1::1"},
		"node": {"10.244.1.1", "fd00:10:244:1::1"}, "node outside": {"192.0.2.1", "2001:db8::1"},
		"group": {"239.1.2.3", "ff0e::1:3"},
	}[name]
	if f == firewall.IPv4 {
		return netip.MustParseAddr(a[0])
	}
	return netip.MustParseAddr(a[1])
}

const (
	soon  = 10 * time.Second       // by when what is sent has come
	never = 150 * time.Millisecond // how long to wait for what should not come
)

func TestPacketsFareAsVerdictSays(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world, r renderer) {
		// With one family off, its packets are none of our business.
		v4, v6, both := config(), config(), config()
		v4.Families, v6.Families = v4.Families[:1], v6.Families[1:]
		for _, c := range []firewall.Config{v4, v6, both} {
			rules := firewall.Rules(c)
			if _, err := r.sync(t.Context(), rules); err != nil {
				t.Fatal(err)
			}
			for _, f := range []firewall.Family{firewall.IPv4, firewall.IPv6} {
				untracked(t, w, rules, f)
				masqueraded(t, w, rules, f)
			}
		}
		if err := r.drop(); err != nil {
			t.Fatal(err)
		}
		for _, f := range []firewall.Family{firewall.IPv4, firewall.IPv6} {
			forwarded(t, w, firewall.Rules(both), f)
		}
	})
}

// masqueraded sends packets through the node, and looks at the source that they
// arrive with.
func masqueraded(t *testing.T, w *world, rules firewall.Ruleset, f firewall.Family) {
	t.Helper()
	for _, tc := range packets {
		p := firewall.Packet{Src: place(tc.src, f), Dst: place(tc.dst, f), Mark: tc.mark}
		want := p.Src
		v := rules.Verdict(firewall.Postrouting, p)
		if v == firewall.Masquerade {
			want = w.masked(p.Dst)
		}
		if got, ok := w.send(t, p, soon); !ok || got != want {
			t.Errorf("%s to %s, mark %#x: source %v, arrived %v; want %v (%v)", tc.src, tc.dst, tc.mark, got, ok, want, v)
		}
	}
}

// forwarded sends packets through the node, which drops what is not accepted.
func forwarded(t *testing.T, w *world, rules firewall.Ruleset, f firewall.Family) {
	t.Helper()
	for _, tc := range packets {
		p := firewall.Packet{Src: place(tc.src, f), Dst: place(tc.dst, f)}
		if tc.src == "node" {
			continue // not forwarded
		}
		v, wait := rules.Verdict(firewall.Forward, p), never
		if v == firewall.Accept {
			wait = soon
		}
		if _, ok := w.send(t, p, wait); ok != (v == firewall.Accept) {
			t.Errorf("%s to %s, the rest dropped: arrived %v; want %v (%v)", tc.src, tc.dst, ok, !ok, v)
		}
	}
}

// untracked sends packets from and to the node, and sees which of them the
// kernel keeps an entry for.
func untracked(t *testing.T, w *world, rules firewall.Ruleset, f firewall.Family) {
	t.Helper()
	for _, port := range []uint16{8472, 8473} {
		for hook, ends := range map[firewall.Hook][2]string{
			firewall.Prerouting: {"outside", "node outside"}, firewall.Output: {"node outside", "outside"},
		} {
			p := firewall.Packet{Src: place(ends[0], f), Dst: place(ends[1], f), UDPPort: port}
			before := tracked(t, w.node)
			if _, ok := w.send(t, p, soon); !ok {
				t.Fatalf("%s to %s, port %d: did not arrive", ends[0], ends[1], port)
			}
			v := rules.Verdict(hook, p)
			if got := tracked(t, w.node) - before; (got == 0) != (v == firewall.Untrack) {
				t.Errorf("%s to %s, port %d: %d connections more; want it to %v", ends[0], ends[1], port, got, v)
			}
		}
	}
}

// tracked returns the number of connections that a namespace keeps.
func tracked(t *testing.T, ns netns.NS) (n int) {
	t.Helper()
	err := ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil {
			return err
		}
		n, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err
	})
	if err != nil {
		t.Fatal(fmt.Errorf("count connections: %w", err))
	}
	return n
}
