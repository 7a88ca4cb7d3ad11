// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
)

// subnetsOf returns what a node has leased, IPv4 first.
func subnetsOf(t *testing.T, n *lab.Node) []netip.Prefix {
	t.Helper()
	s, err := n.Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Subnets
}

// macOf returns the address of a link.
func macOf(t *testing.T, n *lab.Node, link string) string {
	t.Helper()
	out := output(t, n.NS(), "ip -o link show dev "+link)
	m := regexp.MustCompile(`link/ether (\S+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("ip link of %s: %q; want it to have a MAC", link, out)
	}
	return m[1]
}

// wantLines fails the test unless each line of want is one of what the tool
// printed, white space apart.
func wantLines(t *testing.T, n *lab.Node, command string, want ...string) {
	t.Helper()
	out := output(t, n.NS(), command)
	have := make(map[string]bool)
	for line := range strings.Lines(out) {
		have[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, w := range want {
		if !have[w] {
			t.Errorf("%s on %s:\n%swant the line %q", command, n.Name(), out, w)
		}
	}
}

// TestTour wants a node to look, with the usual tools, as runbooks for flannel
// and our own documentation say.
func TestTour(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual})
	n, peer := l.Node(1), l.Node(2)
	for i, link := range []string{"flannel.1", "flannel-v6.1"} {
		own, s := subnetsOf(t, n)[i], subnetsOf(t, peer)[i]
		uplink, mtu, length := n.Uplink()[i], 1450-20*i, own.Addr().BitLen()
		out := output(t, n.NS(), "ip -d link show dev "+link)
		for _, want := range []string{
			link + ": <BROADCAST,MULTICAST,UP,LOWER_UP>", fmt.Sprintf(" mtu %d ", mtu),
			fmt.Sprintf("vxlan id 1 local %s dev eth0 ", uplink), " dstport 8472 ", " nolearning ",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("ip -d link show dev %s:\n%swant %q in it", link, out, want)
			}
		}
		out = output(t, n.NS(), "ip -o address show scope global dev "+link)
		if want := fmt.Sprintf(" %s/%d ", own.Addr(), length); !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
			t.Errorf("addresses of %s:\n%swant %s alone", link, out, want)
		}
		tourPeer(t, n, tour{link, s, peer.Uplink()[i], macOf(t, peer, link), macOf(t, peer, "eth0")})
	}
	tourSubnetEnv(t, n)
}

// A tour is what one node should show of its peer.
type tour struct {
	link      string
	subnet    netip.Prefix
	uplink    netip.Addr
	mac, eth0 string
}

func tourPeer(t *testing.T, n *lab.Node, p tour) {
	t.Helper()
	metric, family, flags := indexIn(t, p.subnet), "-4", " onlink"
	if p.subnet.Addr().Is6() {
		family, flags = "-6", " onlink pref medium"
	}
	wantLines(t, n, "ip "+family+" route show",
		fmt.Sprintf("%s via %s dev %s proto 112 metric %d%s", p.subnet, p.subnet.Addr(), p.link, metric, flags))
	wantLines(t, n, "ip neigh show dev "+p.link,
		fmt.Sprintf("%s lladdr %s PERMANENT", p.subnet.Addr(), p.mac))
	wantLines(t, n, "bridge fdb show dev "+p.link,
		fmt.Sprintf("%s dst %s self permanent", p.mac, p.uplink))
}

// indexIn is the place of a subnet among all of its length in the network,
// counted from 1: the metric of the route to it. The lab's networks leave the
// last 16 bits before the host part to count in.
func indexIn(t *testing.T, s netip.Prefix) int {
	t.Helper()
	b := s.Addr().AsSlice()
	if s.Addr().Is4() {
		return int(b[2]) + 1
	}
	return int(b[6])<<8 + int(b[7]) + 1
}

func tourSubnetEnv(t *testing.T, n *lab.Node) {
	t.Helper()
	s := subnetsOf(t, n)
	want := fmt.Sprintf("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=%s/24\n"+
		"FLANNEL_IPV6_NETWORK=fd00:10:244::/48\nFLANNEL_IPV6_SUBNET=%s/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n",
		s[0].Addr().Next(), s[1].Addr().Next())
	b, err := os.ReadFile(n.Agent(0).SubnetFile())
	if err != nil || string(b) != want {
		t.Errorf("subnet.env = %q, %v; want %q", b, err, want)
	}
}
