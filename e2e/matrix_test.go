// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
)

// TestMatrix builds each kind of cluster and wants every pod to reach every
// other, at full size and from its own address.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spec  lab.Spec
		check func(*testing.T, *lab.Lab)
	}{
		"IPv4":        {lab.Spec{Nodes: 3, Pods: 2}, nftables},
		"dual stack":  {lab.Spec{Nodes: 3, Pods: 2, Families: lab.Dual}, nil},
		"IPv6 only":   {lab.Spec{Nodes: 3, Pods: 2, Families: lab.IPv6}, noIPv4},
		"host-gw":     {lab.Spec{Nodes: 3, Pods: 1, Families: lab.Dual, Backend: "host-gw"}, noTunnel},
		"iptables":    {lab.Spec{Nodes: 2, Pods: 2, Families: lab.Dual, Conf: conf(`{"Firewall":"iptables"}`)}, iptables},
		"two racks":   {lab.Spec{Nodes: 4, Pods: 1, Switches: 2, Families: lab.Dual}, nil},
		"two on host": {lab.Spec{Nodes: 2, Pods: 2, Networks: 2, Families: lab.Dual}, twoDevices},
		"direct routing": {lab.Spec{Nodes: 4, Pods: 1, Switches: 2, Families: lab.Dual,
			Conf: conf(`{"Backend":{"DirectRouting":true}}`)}, directInRack},
		"other port and VNI": {lab.Spec{Nodes: 2, Pods: 1, Conf: conf(`{"Backend":{"VNI":4711,"Port":4789}}`)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := up(t, test.spec)
			prove(t, l)
			if test.check != nil {
				test.check(t, l)
			}
		})
	}
}

func conf(s string) json.RawMessage { return json.RawMessage(s) }

func nftables(t *testing.T, l *lab.Lab) {
	for _, tool := range []string{"iptables-save", "ip6tables-save"} {
		if out := output(t, l.Node(1).NS(), tool); strings.Contains(out, "PERCALE") {
			t.Errorf("%s in nftables mode shows our rules:\n%s", tool, out)
		}
	}
	if s := firewallMode(t, l); s != "nftables" {
		t.Errorf("firewall mode = %q; want nftables", s)
	}
}

func iptables(t *testing.T, l *lab.Lab) {
	for _, tool := range []string{"iptables-save", "ip6tables-save"} {
		if out := output(t, l.Node(1).NS(), tool); !strings.Contains(out, "PERCALE") {
			t.Errorf("%s in iptables mode = %s; want our chains", tool, out)
		}
	}
	if s := firewallMode(t, l); s != "iptables" {
		t.Errorf("firewall mode = %q; want iptables", s)
	}
}

func firewallMode(t *testing.T, l *lab.Lab) string {
	t.Helper()
	s, err := l.Node(1).Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Firewall.Mode
}

func noIPv4(t *testing.T, l *lab.Lab) {
	for _, n := range l.Nodes() {
		if out := output(t, n.NS(), "ip -4 -o address show scope global"); out != "" {
			t.Errorf("IPv4 addresses of %s in an IPv6-only cluster:\n%s", n.Name(), out)
		}
	}
}

func noTunnel(t *testing.T, l *lab.Lab) {
	for _, n := range l.Nodes() {
		if out := output(t, n.NS(), "ip -o link show type vxlan"); out != "" {
			t.Errorf("tunnel device of %s under host-gw:\n%s", n.Name(), out)
		}
		out := output(t, n.NS(), "ip route show proto 112")
		if strings.Count(out, "\n") != 2 || strings.Count(out, "dev eth0") != 2 {
			t.Errorf("routes of %s under host-gw:\n%swant two over eth0", n.Name(), out)
		}
	}
}

func twoDevices(t *testing.T, l *lab.Lab) {
	for _, n := range l.Nodes() {
		out := output(t, n.NS(), "ip -o link show type vxlan")
		for _, name := range []string{"flannel.1:", "flannel-v6.1:", "flannel.2:", "flannel-v6.2:"} {
			if !strings.Contains(out, name) {
				t.Errorf("tunnel devices of %s:\n%swant %s among them", n.Name(), out, name)
			}
		}
		// Neither agent removes what is the other's: each has a route to the peer.
		if out := output(t, n.NS(), "ip route show proto 112"); strings.Count(out, "\n") != 2 {
			t.Errorf("routes of %s:\n%swant one for each network", n.Name(), out)
		}
	}
}

// directInRack wants plain routes between nodes on one switch, and a tunnel
// between those that a router parts. Nodes 1 and 3 share a switch.
func directInRack(t *testing.T, l *lab.Lab) {
	n := l.Node(1)
	for family, devices := range map[string]string{"-4": "flannel.1", "-6": "flannel-v6.1"} {
		out := output(t, n.NS(), "ip "+family+" route show proto 112")
		var direct, tunnel int
		for line := range strings.Lines(out) {
			switch {
			case strings.Contains(line, "dev eth0"):
				direct++
				if want := fmt.Sprintf("via %s ", uplink(l.Node(3), family)); !strings.Contains(line, want) {
					t.Errorf("direct route %q; want it %q", line, want)
				}
			case strings.Contains(line, "dev "+devices+" "):
				tunnel++
			}
		}
		if direct != 1 || tunnel != 2 {
			t.Errorf("ip %s route of %s:\n%swant one over eth0 and two over %s", family, n.Name(), out, devices)
		}
	}
}

// uplink returns a node's underlay address in a family, as for ip.
func uplink(n *lab.Node, family string) string {
	for _, a := range n.Uplink() {
		if a.Is4() == (family == "-4") {
			return a.String()
		}
	}
	return "none"
}
