// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
)

// TestNetConfChangesWhileRunning moves a cluster to another VNI and port by
// writing its configuration, first a wrong one. No agent is restarted.
func TestNetConfChangesWhileRunning(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	pids := [2]int{l.Node(1).Agent(0).PID(), l.Node(2).Agent(0).PID()}
	put(t, l, map[string]string{"/config": `{"Network":"10.244.0.0/16","Bakend":{"VNI":7}}`})
	for _, n := range l.Nodes() {
		await(t, n, func(s status.Status) error {
			if !s.Ready || len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Seen, `"Backend"`) {
				return fmt.Errorf("ready %t, problems %v; want ready, and the wrong key with the nearest right one", s.Ready, s.Problems)
			}
			return nil
		})
	}
	prove(t, l) // by the former one
	put(t, l, map[string]string{"/config": `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":7,"Port":4789}}`})
	for _, n := range l.Nodes() {
		await(t, n, func(s status.Status) error {
			if !s.Ready || s.Peers.Programmed != 1 || len(s.Devices) != 1 || s.Devices[0].VNI != 7 || s.Devices[0].Port != 4789 {
				return fmt.Errorf("ready %t, peers %v, devices %v; want VNI 7 and port 4789", s.Ready, s.Peers, s.Devices)
			}
			return nil
		})
	}
	prove(t, l)
	if now := [2]int{l.Node(1).Agent(0).PID(), l.Node(2).Agent(0).PID()}; now != pids {
		t.Errorf("agents' processes were %v and are %v; want the same", pids, now)
	}
}

// TestAddressChangeIsFollowedSoon gives a node another uplink address under
// traffic. The way back opens when its peers know the new one; a request to etcd
// that waits for an answer to the old one would take five seconds.
func TestAddressChangeIsFollowedSoon(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	pods := l.Pods()
	ping, err := lab.Ping(pods[0], pods[1], 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	n := l.Node(2)
	output(t, n.NS(), "ip address add 192.168.77.99/24 dev eth0")
	output(t, n.NS(), "ip address del 192.168.77.12/24 dev eth0") // takes the second one along
	output(t, n.NS(), "ip address replace 192.168.77.99/24 dev eth0")
	output(t, n.NS(), "ip route replace default via 192.168.77.1")
	eventually(t, func() error { return knowsUplink(t, l.Node(1), netip.MustParseAddr("192.168.77.99")) })
	prove(t, l)
	if _, lost, err := ping.Stop(); err != nil || lost > 100 {
		t.Errorf("%d packets of one each 10 ms lost, %v; want at most 100", lost, err)
	} else {
		t.Logf("%d packets lost", lost)
	}
}

// TestForeignDropIsNamed has a firewall reject what it does not know in a chain
// of its own, where no rule of ours belongs, and then takes it away.
func TestForeignDropIsNamed(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 1})
	n := l.Node(1)
	for _, rule := range []string{"-N site", "-A site -p udp -j ACCEPT", "-A site -j REJECT", "-A FORWARD -j site"} {
		output(t, n.NS(), "iptables "+rule)
	}
	await(t, n, func(s status.Status) error {
		for _, p := range s.Problems {
			if strings.Contains(p.Seen, "table ip filter, chain FORWARD: ") && strings.Contains(p.Seen, "iptables -I FORWARD -s 10.244.0.0/16") {
				return nil
			}
		}
		return fmt.Errorf("problems %v; want the chain and the remedy named", s.Problems)
	})
	output(t, n.NS(), "iptables -D FORWARD -j site")
	await(t, n, func(s status.Status) error {
		if len(s.Problems) > 0 {
			return fmt.Errorf("problems %v; want none, with the rule gone", s.Problems)
		}
		return nil
	})
}

// TestPeerAtBroadcastAddress lets a peer claim to be where no host can be, with
// the backend whose routes the kernel would refuse.
func TestPeerAtBroadcastAddress(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1, Backend: "host-gw"})
	put(t, l, map[string]string{
		"/subnets/10.244.250.0-24": `{"PublicIP":"192.168.77.255","PublicIPv6":null,"BackendType":"host-gw"}`,
	})
	for _, n := range l.Nodes() {
		await(t, n, func(s status.Status) error {
			if !s.Ready || len(s.Problems) != 0 || len(s.Refused) != 1 || !strings.Contains(s.Refused[0].Reason, "broadcast") {
				return fmt.Errorf("ready %t, problems %v, refused %v; want the one refused and nothing else", s.Ready, s.Problems, s.Refused)
			}
			return nil
		})
	}
	prove(t, l)
}

// TestEtcdComesBackEmptied loses etcd's data. Every agent says that the network
// configuration is missing, and takes a new one when it is written, although
// etcd counts its revisions anew.
func TestEtcdComesBackEmptied(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	for i := range 30 { // far ahead of where the new one begins
		put(t, l, map[string]string{"/other": fmt.Sprint(i)})
	}
	if err := l.StopEtcd(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(lab.Root, l.Name(), "etcd")); err != nil {
		t.Fatal(err)
	}
	if err := l.StartEtcd(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes() {
		await(t, n, func(s status.Status) error {
			for _, p := range s.Problems {
				if p.Part == "net-conf" && strings.Contains(p.Seen, "no such key") {
					return nil
				}
			}
			return fmt.Errorf("problems %v; want the missing configuration named", s.Problems)
		})
	}
	put(t, l, map[string]string{"/config": `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","MTU":1400}}`})
	for _, n := range l.Nodes() {
		await(t, n, func(s status.Status) error {
			if !s.Ready || s.PodMTU != 1350 || s.Peers.Programmed != 1 || len(s.Problems) != 0 {
				return fmt.Errorf("ready %t, pods' MTU %d, peers %v, problems %v; want ready with 1350", s.Ready, s.PodMTU, s.Peers, s.Problems)
			}
			return nil
		})
	}
}

// TestPeerOfAnotherBackendIsRefused lets a peer announce a backend that ours
// does not speak, and return. Nothing of it stays meanwhile.
func TestPeerOfAnotherBackendIsRefused(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	n := l.Node(1)
	without := dataPlane(t, n)
	const key = "/subnets/10.244.250.0-24"
	lease := foreign("192.168.77.201", mac1)
	put(t, l, map[string]string{key: lease})
	ready(t, 2, n)
	with := dataPlane(t, n)
	for range 3 {
		put(t, l, map[string]string{key: strings.Replace(lease, `"vxlan"`, `"host-gw"`, 1)})
		await(t, n, func(s status.Status) error {
			if len(s.Refused) != 1 || !strings.Contains(s.Refused[0].Reason, "host-gw") || s.Peers.Programmed != 1 || !s.Ready {
				return fmt.Errorf("refused %v, peers %v; want the peer refused for its backend", s.Refused, s.Peers)
			}
			return nil
		})
		if now := dataPlane(t, n); now != without {
			t.Errorf("with the peer refused:\n%s\nwant as without it:\n%s", now, without)
		}
		put(t, l, map[string]string{key: lease})
		ready(t, 2, n)
		if now := dataPlane(t, n); now != with {
			t.Errorf("with the peer back:\n%s\nwant as before:\n%s", now, with)
		}
	}
	prove(t, l)
}

// TestManyMACsLeaveNothing changes a peer's MAC a hundred times, where flannel
// leaves an FDB entry behind each time.
func TestManyMACsLeaveNothing(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 1})
	n := l.Node(1)
	const key = "/subnets/10.244.250.0-24"
	for i := range 100 {
		mac := fmt.Sprintf("26:1b:00:00:01:%02x", i)
		put(t, l, map[string]string{key: foreign("192.168.77.201", mac)})
		wantEventually(t, n, "bridge fdb show dev flannel.1", mac+" dst 192.168.77.201 self permanent")
	}
	wantEventually(t, n, "ip neigh show dev flannel.1 nud permanent", "10.244.250.0 lladdr 26:1b:00:00:01:63 PERMANENT")
}
