// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/internal/status"
)

// An uplinkChange is what happens to a node's uplink, and how it is to look
// then to the node itself and to its peers.
type uplinkChange struct {
	name   string
	change func(t *testing.T, m *mover)
	link   string
	v4, v6 string // published
	podMTU int
	extra  int // packets that it may cost besides
}

// withDevices is for a change that takes the uplink away, and so has the kernel
// delete the overlay devices on it: that is a fault of its own.
const withDevices = 10

// uplinkChanges happen one after the other. Each ends as a network manager
// would leave the node.
var uplinkChanges = []uplinkChange{
	{"MTU 1400", onNode("link set dev eth0 mtu 1400"), "eth0", "192.168.77.12", "fd77::c", 1330, 0},
	{"MTU back", onNode("link set dev eth0 mtu 1500"), "eth0", "192.168.77.12", "fd77::c", 1430, 0},
	{"IPv6 address replaced", onNode("address add fd77::99/64 dev eth0 nodad", "address del fd77::c/64 dev eth0"),
		"eth0", "192.168.77.12", "fd77::99", 1430, 0},
	{"IPv4 address replaced", onNode("address del 192.168.77.12/24 dev eth0", "address add 192.168.77.98/24 dev eth0",
		"route replace default via 192.168.77.1"), "eth0", "192.168.77.98", "fd77::99", 1430, 0},
	{"another one added", onNode("address add 192.168.80.12/24 dev eth0"), "eth0", "192.168.77.98", "fd77::99", 1430, 0},
	{"and the first one removed", onNode("route replace default via 192.168.80.1", "address del 192.168.77.98/24 dev eth0"), "eth0", "192.168.80.12", "fd77::99", 1430, 0},
	{"both back", onNode("address add 192.168.77.12/24 dev eth0", "address del 192.168.80.12/24 dev eth0",
		"address add fd77::c/64 dev eth0 nodad", "address del fd77::99/64 dev eth0",
		"route replace default via 192.168.77.1"), "eth0", "192.168.77.12", "fd77::c", 1430, 0},
	{"default routes moved to a second link", toSecond, "eth1", "192.168.79.12", "fd79::c", 1380, 0},
	{"and back", toFirst, "eth0", "192.168.77.12", "fd77::c", 1430, withDevices},
	{"down, renamed, up", rename("eth0", "lan0"), "lan0", "192.168.77.12", "fd77::c", 1430, 0},
	{"and back", rename("lan0", "eth0"), "eth0", "192.168.77.12", "fd77::c", 1430, 0},
	{"in another namespace for a while", away, "eth0", "192.168.77.12", "fd77::c", 1430, withDevices},
	{"without carrier for 5 s", unplug, "eth0", "192.168.77.12", "fd77::c", 1430, 0},
}

// TestUplinkIsFollowed changes a node's uplink in each way under pings in both
// families. Nothing is restarted, its peer follows, and little more is lost
// than while the uplink itself was away. On a machine that is busy with other
// things every agent is late, so all changes, of which the last leaves the node
// as the first found it, are made again for those that cost too much.
func TestUplinkIsFollowed(t *testing.T) {
	t.Parallel()
	const tries = 4
	l := up(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual})
	m := newMover(t, l)
	pid := m.node.Agent(0).PID()
	costly := m.run(t)
	for again := 1; again < tries && len(costly) > 0; again++ {
		now := m.run(t)
		maps.DeleteFunc(costly, func(change int, _ error) bool { return now[change] == nil })
	}
	for _, err := range costly {
		t.Errorf("%v, in each of %d tries", err, tries)
	}
	if now := m.node.Agent(0).PID(); now != pid || now == 0 {
		t.Errorf("process of the agent was %d, is %d", pid, now)
	}
	prove(t, l)
}

// run makes all changes, and returns those that cost too much, by their place.
func (m *mover) run(t *testing.T) map[int]error {
	t.Helper()
	costly := make(map[int]error)
	for i, c := range uplinkChanges {
		settled(t, m.node)
		lost, began := m.lost(), time.Now()
		c.change(t, m)
		away := time.Since(began).Round(time.Millisecond)
		m.follows(t, c)
		m.answers(t, 20)
		m.accepted(t, c)
		now, most := m.lost(), 10+c.extra+int(away/pingEvery)
		v4, v6 := now[0]-lost[0], now[1]-lost[1]
		t.Logf("%s: %d packets of IPv4 and %d of IPv6 lost; the change itself took %v", c.name, v4, v6, away)
		if max(v4, v6) > most {
			costly[i] = fmt.Errorf("%s: %d packets of IPv4 and %d of IPv6 lost; want at most %d each, as the change itself took %v",
				c.name, v4, v6, most, away)
		}
	}
	return costly
}

// onNode returns a change that gives ip all commands at once.
func onNode(commands ...string) func(*testing.T, *mover) {
	return func(t *testing.T, m *mover) { t.Helper(); batch(t, m.node.NS(), commands...) }
}

// batch gives one ip process many commands, so that little time lies between
// them.
func batch(t *testing.T, ns netns.NS, commands ...string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	err := ns.Do(func() error {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("ip -batch of %q: %w: %s", commands, err, out)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// toSecond gives the node a second link to the lab's router, with a smaller
// MTU, and moves the default routes there.
func toSecond(t *testing.T, m *mover) {
	t.Helper()
	batch(t, m.lab.Switch(),
		"link add second type veth peer name eth1 netns "+m.node.NS().Name(),
		"link set dev second mtu 1450 up", "address add 192.168.79.1/24 dev second", "address add fd79::1/64 dev second nodad")
	batch(t, m.node.NS(), "link set dev eth1 mtu 1450 up",
		"address add 192.168.79.12/24 dev eth1", "address add fd79::c/64 dev eth1 nodad",
		"route del default", "route add default via 192.168.79.1")
	output(t, m.node.NS(), "ip -6 route del default")
	output(t, m.node.NS(), "ip -6 route add default via fd79::1")
}

func toFirst(t *testing.T, m *mover) {
	t.Helper()
	output(t, m.node.NS(), "ip route replace default via 192.168.77.1")
	output(t, m.node.NS(), "ip -6 route del default")
	output(t, m.node.NS(), "ip -6 route add default via fd77::1")
	output(t, m.lab.Switch(), "ip link del dev second") // and eth1 with it
}

func rename(from, to string) func(*testing.T, *mover) {
	return func(t *testing.T, m *mover) {
		t.Helper()
		batch(t, m.node.NS(), slices.Concat([]string{"link set dev " + from + " down", "link set dev " + from + " name " + to}, setUp(to))...)
	}
}

// setUp is what a network manager does with a link that has come.
func setUp(link string) []string {
	return []string{"link set dev " + link + " up",
		"address replace 192.168.77.12/24 dev " + link, "address replace fd77::c/64 dev " + link + " nodad",
		"route replace default via 192.168.77.1 dev " + link, "route replace default via fd77::1 dev " + link}
}

// away moves the uplink to another namespace, as a container may take it, which
// also deletes the devices on it, and back.
func away(t *testing.T, m *mover) {
	t.Helper()
	output(t, m.node.NS(), "ip link set dev eth0 netns "+m.lab.Switch().Name())
	await(t, m.node, func(s status.Status) error {
		if s.Ready || !strings.Contains(s.Waiting, "uplink") {
			return fmt.Errorf("without an uplink: ready %t, waiting for %q; want it to name the uplink", s.Ready, s.Waiting)
		}
		return nil
	})
	output(t, m.lab.Switch(), "ip link set dev eth0 netns "+m.node.NS().Name())
	batch(t, m.node.NS(), setUp("eth0")...)
}

func unplug(t *testing.T, m *mover) {
	t.Helper()
	output(t, m.lab.Switch(), "ip link set dev n2 down")
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	<-timer.C
	output(t, m.lab.Switch(), "ip link set dev n2 up")
}
