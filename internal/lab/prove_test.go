// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
)

// wirePods makes two pods on one bridge, dual stack, with links of 1,400 bytes.
func wirePods(t *testing.T) *Lab {
	t.Helper()
	sw := netns.Temp(t)
	bridge := network.Link{Name: "br", Kind: network.KindBridge, MTU: 1400, Up: true}
	if err := apply(t.Context(), sw, network.Changes{SetLinks: []network.Link{bridge}}); err != nil {
		t.Fatal(err)
	}
	rec := &nodeRecord{Index: 1}
	for i := 1; i <= 2; i++ {
		p := Pod{Name: netns.Temp(t).Name(), Index: i, Addrs: []netip.Addr{
			netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)}),
		}}
		wire(t, sw, p)
		rec.Pods = append(rec.Pods, p)
	}
	return &Lab{rec: record{Spec: Spec{Name: "t"}, Nodes: []*nodeRecord{rec}}}
}

func wire(t *testing.T, sw netns.NS, p Pod) {
	t.Helper()
	if err := apply(t.Context(), p.NS(), network.Changes{SetSysctls: quiet()}); err != nil {
		t.Fatal(err)
	}
	a, err := kernel.Open(p.NS().Path())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := kernel.Open(sw.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	err = errors.Join(
		kernel.AddVeth(a, network.Link{Name: UplinkName, MTU: 1400, Up: true},
			b, network.Link{Name: fmt.Sprintf("p%d", p.Index), MTU: 1400, Master: "br", Up: true}),
		a.Apply(t.Context(), network.Changes{SetAddresses: []network.Address{
			{Link: UplinkName, Prefix: netip.PrefixFrom(p.Addrs[0], 24)},
			{Link: UplinkName, Prefix: netip.PrefixFrom(p.Addrs[1], 64)},
		}}),
	)
	if err != nil {
		t.Fatal(err)
	}
}

func TestProve(t *testing.T) {
	for name, test := range map[string]struct {
		rules []string // for iptables or ip6tables, in the second pod
		want  [2]string
	}{
		"all is well": {nil, [2]string{"", ""}},
		"full-size packets are lost": {
			[]string{"iptables -A INPUT -p udp -m length --length 1000: -j DROP"}, [2]string{"df", "df"}},
		"IPv6 is lost": {
			[]string{"ip6tables -A INPUT -p udp -j DROP", "ip6tables -A INPUT -p tcp -j REJECT --reject-with tcp-reset"},
			[2]string{"udp6,df6,tcp6", "udp6,df6,tcp6"}},
		"TCP is refused, one way": {
			[]string{"iptables -A INPUT -p tcp --dport 7007 -j REJECT --reject-with tcp-reset"}, [2]string{"tcp", ""}},
		"source is rewritten, one way": {
			[]string{"iptables -t nat -A INPUT -p tcp --dport 7007 -j SNAT --to-source 10.9.0.77"}, [2]string{"src", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := wirePods(t)
			pods := l.Pods()
			for _, rule := range test.rules {
				words := strings.Fields(rule)
				if _, err := pods[1].NS().Output(words[0], words[1:]...); err != nil {
					t.Fatal(err)
				}
			}
			proof, err := l.Prove(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if proof.MTU != 1400 || len(proof.Cells) != 2 {
				t.Errorf("proof of MTU %d with %d cells; want 1400 and 2", proof.MTU, len(proof.Cells))
			}
			for i := range 2 {
				c := proof.Cells[[2]string{pods[i].Name, pods[1-i].Name}]
				if got := strings.Join(c.Faults, ","); got != test.want[i] {
					t.Errorf("way from pod %d: %q %q; want %q", i+1, got, c.Why, test.want[i])
				}
			}
		})
	}
}

func TestProveSkipsOtherNetworks(t *testing.T) {
	t.Parallel()
	l := wirePods(t)
	l.rec.Nodes[0].Pods[1].Network = 1
	proof, err := l.Prove(t.Context())
	if err != nil || len(proof.Cells) != 0 || len(proof.Pods) != 2 || slices.Contains(proof.Pods, "") {
		t.Errorf("Prove over two networks = %+v, %v; want both pods and no cell", proof, err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	l := wirePods(t)
	pods := l.Pods()
	for _, test := range []struct {
		rule string
		lost bool
	}{{"", false}, {"-A INPUT -p udp -j DROP", true}} {
		if test.rule != "" {
			if _, err := pods[1].NS().Output("iptables", strings.Fields(test.rule)...); err != nil {
				t.Fatal(err)
			}
		}
		p, err := Ping(pods[0], pods[1], time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for sent, _ := p.Counts(); sent < 10; sent, _ = p.Counts() {
			runtime.Gosched()
		}
		sent, lost, err := p.Stop()
		if err != nil || sent < 10 || test.lost != (lost == sent) || test.lost != (lost > 0) {
			t.Errorf("with rule %q: %d sent, %d lost, %v; want 10 or more sent, all lost: %v", test.rule, sent, lost, err, test.lost)
		}
	}
}
