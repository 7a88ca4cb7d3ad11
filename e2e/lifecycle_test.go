// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
)

// TestNodeJoinsAndLeaves wants the kernel of the others to be, after a node came
// and went, exactly what it was before.
func TestNodeJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]lab.Spec{
		"vxlan":   {Nodes: 2, Pods: 1, Families: lab.Dual},
		"host-gw": {Nodes: 2, Pods: 1, Families: lab.Dual, Backend: "host-gw"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := up(t, spec)
			prove(t, l)
			before := dataPlane(t, l.Node(1))
			n, err := l.AddNode(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ready(t, 2, l.Nodes()...)
			if _, err := n.AddPod(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			prove(t, l)
			if dataPlane(t, l.Node(1)) == before {
				t.Error("a third node changed nothing in the kernel of the first")
			}
			key := leaseKey(subnetsOf(t, n))
			if err := l.RemoveNode(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			put(t, l, map[string]string{key: ""})
			ready(t, 1, l.Nodes()...)
			if after := dataPlane(t, l.Node(1)); after != before {
				t.Errorf("after a node came and went:\n%s\nwant as before:\n%s", after, before)
			}
			prove(t, l)
		})
	}
}

// leaseKey is the etcd key of a lease, below the prefix.
func leaseKey(subnets []netip.Prefix) string {
	var texts []string
	if subnets[0].Addr().Is6() {
		texts = append(texts, "0.0.0.0-0")
	}
	for _, s := range subnets {
		texts = append(texts, strings.Replace(s.String(), "/", "-", 1))
	}
	return "/subnets/" + strings.Join(texts, "&")
}

// TestNodeChangesAddress gives a node another underlay address while its agent
// runs, and wants everybody to follow.
func TestNodeChangesAddress(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]lab.Spec{
		"vxlan":   {Nodes: 3, Pods: 1, Families: lab.Dual},
		"host-gw": {Nodes: 3, Pods: 1, Families: lab.Dual, Backend: "host-gw"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := up(t, spec)
			n := l.Node(2)
			for _, command := range []string{
				"ip address del 192.168.77.12/24 dev eth0", "ip address add 192.168.77.99/24 dev eth0",
				"ip route replace default via 192.168.77.1",
				"ip address del fd77::c/64 dev eth0", "ip address add fd77::99/64 dev eth0",
				"ip -6 route replace default via fd77::1",
			} {
				output(t, n.NS(), command)
			}
			moved := netip.MustParseAddr("192.168.77.99")
			await(t, n, func(s status.Status) error {
				if len(s.Uplink.Published) == 0 || s.Uplink.Published[0] != moved {
					return fmt.Errorf("published uplinks = %v; want %v", s.Uplink.Published, moved)
				}
				return nil
			})
			for _, other := range []*lab.Node{l.Node(1), l.Node(3)} {
				eventually(t, func() error { return knowsUplink(t, other, moved) })
				for _, old := range []string{" 192.168.77.12 ", " fd77::c "} {
					eventually(t, func() error {
						out := output(t, other.NS(), "bridge fdb show") + output(t, other.NS(), "ip route show proto 112") +
							output(t, other.NS(), "ip -6 route show proto 112")
						if strings.Contains(out, old) {
							return fmt.Errorf("%s still knows%s:\n%s", other.Name(), old, out)
						}
						return nil
					})
				}
			}
			ready(t, 2, l.Nodes()...)
			prove(t, l)
		})
	}
}

// knowsUplink reports as an error that a node has no peer at the address.
func knowsUplink(t *testing.T, n *lab.Node, uplink netip.Addr) error {
	peers, err := n.Agent(0).Peers(t.Context())
	if err != nil {
		return err
	}
	for _, p := range peers {
		for _, u := range p.Uplinks {
			if u == uplink && p.Programmed {
				return nil
			}
		}
	}
	return fmt.Errorf("peers of %s = %v; want one at %s", n.Name(), peers, uplink)
}

// foreign is a lease as flannel writes it: no node name.
func foreign(uplink, mac string) string {
	return fmt.Sprintf(`{"PublicIP":%q,"PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":%q}}`, uplink, mac)
}

// TestFlannelPeerChangesMACAndAddress puts the lease of a node that runs flannel
// into etcd, changes it, and wants our kernel to follow with nothing left over.
func TestFlannelPeerChangesMACAndAddress(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 1})
	n := l.Node(1)
	before := dataPlane(t, n)
	const key = "/subnets/10.244.250.0-24"
	for _, step := range []struct{ uplink, mac string }{
		{"192.168.77.201", "26:1b:00:00:00:01"},
		{"192.168.77.201", "26:1b:00:00:00:02"}, // another MAC
		{"192.168.77.202", "26:1b:00:00:00:02"}, // another address
		{"192.168.77.203", "26:1b:00:00:00:03"}, // both
	} {
		put(t, l, map[string]string{key: foreign(step.uplink, step.mac)})
		eventually(t, func() error { return knowsUplink(t, n, netip.MustParseAddr(step.uplink)) })
		wantEventually(t, n, "ip route show proto 112",
			"10.244.250.0/24 via 10.244.250.0 dev flannel.1 metric 251 onlink")
		wantEventually(t, n, "ip neigh show dev flannel.1 nud permanent", "10.244.250.0 lladdr "+step.mac+" PERMANENT")
		wantEventually(t, n, "bridge fdb show dev flannel.1", step.mac+" dst "+step.uplink+" self permanent")
	}
	put(t, l, map[string]string{key: ""})
	ready(t, 0, n)
	if after := dataPlane(t, n); after != before {
		t.Errorf("after the peer went:\n%s\nwant as before it came:\n%s", after, before)
	}
}

// wantEventually waits until a tool prints exactly the one line, white space
// apart.
func wantEventually(t *testing.T, n *lab.Node, command, line string) {
	t.Helper()
	eventually(t, func() error {
		out := output(t, n.NS(), command)
		if got := strings.Join(strings.Fields(out), " "); got != line {
			return fmt.Errorf("%s on %s:\n%swant %q alone", command, n.Name(), out, line)
		}
		return nil
	})
}

// TestTakesOverFromFlannel starts an agent on a node that ran flannel before:
// it goes on with flannel's subnet, and its MAC, which other nodes know.
func TestTakesOverFromFlannel(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 1, Pods: 1})
	const mac = "26:1b:00:00:00:12"
	put(t, l, map[string]string{"/subnets/10.244.77.0-24": foreign("192.168.77.12", mac)})
	n, err := l.AddNode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ready(t, 1, l.Nodes()...)
	if s := subnetsOf(t, n); len(s) != 1 || s[0] != netip.MustParsePrefix("10.244.77.0/24") {
		t.Errorf("subnets = %v; want flannel's 10.244.77.0/24", s)
	}
	if got := macOf(t, n, "flannel.1"); got != mac {
		t.Errorf("MAC = %s; want that which flannel published, %s", got, mac)
	}
	if _, err := n.AddPod(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	prove(t, l)
}
