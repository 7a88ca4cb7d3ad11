// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/network"
)

// A wireEnd is one address family of a lease.
type wireEnd struct {
	uplink string
	mac    string
}

// device is the tunnel that leads to the end from a lab's node, "" for none: it
// is on the node's own segment.
func (e wireEnd) device() string {
	switch uplink := netip.MustParseAddr(e.uplink); {
	case strings.HasPrefix(e.uplink, "192.168.77."), strings.HasPrefix(e.uplink, "fd77:"):
		return ""
	case uplink.Is6():
		return "flannel-v6.1"
	}
	return "flannel.1"
}

// face is how packets to the end come.
func (e wireEnd) face() face {
	mac, err := network.ParseMAC(e.mac)
	if e.device() == "" || err != nil {
		return face{}
	}
	return face{netip.MustParseAddr(e.uplink), mac}
}

// dualLease is a lease as flannel writes it in dual stack.
func dualLease(v4, v6 wireEnd) string {
	return fmt.Sprintf(`{"PublicIP":%q,"PublicIPv6":%q,"BackendType":"vxlan",`+
		`"BackendData":{"VNI":1,"VtepMAC":%q},"BackendV6Data":{"VNI":1,"VtepMAC":%q}}`, v4.uplink, v6.uplink, v4.mac, v6.mac)
}

const (
	mac1, mac2, mac3 = "26:1b:00:00:00:01", "26:1b:00:00:00:02", "26:1b:00:00:00:03"
	six1, six2, six3 = "26:1b:00:00:06:01", "26:1b:00:00:06:02", "26:1b:00:00:06:03"
)

// A leaseChange is what a peer's lease says next.
type leaseChange struct {
	name   string
	v4, v6 wireEnd
}

// leaseChanges of one peer: its uplinks 10.99.0.* and fd99::* are behind a router,
// the others on the segment of the node that has them as a peer.
var leaseChanges = []leaseChange{
	{"comes", wireEnd{"10.99.0.1", mac1}, wireEnd{"fd99::1", six1}},
	{"MACs", wireEnd{"10.99.0.1", mac2}, wireEnd{"fd99::1", six2}},
	{"uplinks", wireEnd{"10.99.0.2", mac2}, wireEnd{"fd99::2", six2}},
	{"MACs and uplinks", wireEnd{"10.99.0.1", mac3}, wireEnd{"fd99::1", six3}},
	{"MAC of IPv4 alone", wireEnd{"10.99.0.1", mac1}, wireEnd{"fd99::1", six3}},
	{"uplink of IPv4 alone", wireEnd{"10.99.0.2", mac1}, wireEnd{"fd99::1", six3}},
	{"MAC and uplink of IPv6 alone", wireEnd{"10.99.0.2", mac1}, wireEnd{"fd99::2", six1}},
	{"tunnelled to direct", wireEnd{"192.168.77.13", mac1}, wireEnd{"fd77::d", six1}},
	{"direct to tunnelled", wireEnd{"10.99.0.2", mac1}, wireEnd{"fd99::2", six1}},
	{"direct, with other MACs", wireEnd{"192.168.77.13", mac2}, wireEnd{"fd77::d", six2}},
	{"tunnelled, with other MACs", wireEnd{"10.99.0.1", mac3}, wireEnd{"fd99::1", six3}},
	{"IPv6 alone direct", wireEnd{"10.99.0.1", mac3}, wireEnd{"fd77::d", six3}},
	{"IPv4 alone direct", wireEnd{"192.168.77.13", mac3}, wireEnd{"fd99::1", six3}},
	{"both tunnelled", wireEnd{"10.99.0.1", mac1}, wireEnd{"fd99::1", six1}},
}

// standInKey is the key of a stand-in's lease, and its pods are in there.
const standInKey = "/subnets/10.244.250.0-24&fd00:10:244:fa::-64"

var (
	standInPods    = addrs("10.244.250.5", "fd00:10:244:fa::5")
	standInUplinks = addrs("10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2")
)

func addrs(texts ...string) (all []netip.Addr) {
	for _, a := range texts {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// TestLeaseChangesMakeBeforeBreak changes one peer's lease in each way, while
// pods send to it, and to another peer. No packet is lost, each comes either
// by the old way or by the new one, and the kernel tells of no change to what
// is not the peer's.
func TestLeaseChangesMakeBeforeBreak(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual, Conf: conf(`{"Backend":{"DirectRouting":true}}`)})
	s := addStandIn(t, l, standInPods, standInUplinks)
	n, pods := l.Node(1), l.Pods()
	settled(t, n)
	before := dataPlane(t, n)
	bystander, err := lab.Ping(pods[0], pods[1], pingEvery)
	if err != nil {
		t.Fatal(err)
	}
	mon := startMonitor(t, n.NS())
	defer mon.stop(t)

	s.publish(t, l, n, leaseChanges[0])
	mon.mark(t)
	counts := []*count{startCount(t, pods[0], s, standInPods[0]), startCount(t, pods[0], s, standInPods[1])}
	for i, is := range leaseChanges[1:] {
		s.change(t, l, leaseChanges[i], is, counts)
		orderly(t, is.name, mon.mark(t))
	}
	for _, c := range counts {
		c.end()
	}
	put(t, l, map[string]string{standInKey: ""})
	ready(t, 1, n)
	orderly(t, "goes", mon.mark(t))
	if after := dataPlane(t, n); after != before {
		t.Errorf("after the peer went:\n%s\nwant as before it came:\n%s", after, before)
	}
	if sent, lost, err := bystander.Stop(); err != nil || lost > 0 || sent == 0 {
		t.Errorf("ping to another peer: %d sent, %d lost, %v; want none lost", sent, lost, err)
	}
}

// publish writes a lease and waits until a node's kernel holds what it says of
// the peer, and nothing else of it.
func (s *standIn) publish(t *testing.T, l *lab.Lab, n *lab.Node, c leaseChange) {
	t.Helper()
	put(t, l, map[string]string{standInKey: dualLease(c.v4, c.v6)})
	eventually(t, func() error {
		fdb := output(t, n.NS(), "bridge fdb show")
		for _, e := range []wireEnd{c.v4, c.v6} {
			want := e.mac + " dev " + e.device() + " dst " + e.uplink + " self permanent"
			if e.device() != "" && !strings.Contains(fdb, want) {
				return fmt.Errorf("FDB:\n%swant %q", fdb, want)
			}
			if e.device() != "" {
				fdb = strings.Replace(fdb, want, "", 1)
			}
		}
		if strings.Contains(fdb, "26:1b:") {
			return fmt.Errorf("FDB besides what is wanted:\n%swant nothing of the peer", fdb)
		}
		return nil
	})
}

// change makes a change and checks how the packets fare meanwhile.
func (s *standIn) change(t *testing.T, l *lab.Lab, was, is leaseChange, counts []*count) {
	t.Helper()
	from := []uint64{counts[0].sent(), counts[1].sent()}
	s.publish(t, l, l.Node(1), is)
	for k, ends := range [][2]wireEnd{{was.v4, is.v4}, {was.v6, is.v6}} {
		c, old, fresh := counts[k], ends[0].face(), ends[1].face()
		var upto uint64
		eventually(t, func() error {
			upto = c.sent()
			if got := c.faces(upto-min(upto, 5), upto); upto < from[k]+5 || !slices.Equal(got, []face{fresh}) {
				return fmt.Errorf("%s: of %d packets the last came by %v; want %v", is.name, upto-from[k], got, fresh)
			}
			return nil
		})
		eventually(t, func() error { // what is under way arrives
			if missing := c.lost(from[k], upto); len(missing) > 0 {
				return fmt.Errorf("%s: packets %v of %d to %d are lost", is.name, missing, from[k]+1, upto)
			}
			return nil
		})
		for _, f := range c.faces(from[k], upto) {
			if f != old && f != fresh {
				t.Errorf("%s: a packet came by %v; want %v or %v", is.name, f, old, fresh)
			}
		}
	}
}

// orderly fails the test unless the kernel told of changes to the peer alone,
// and of no new entry after the first that went.
func orderly(t *testing.T, change string, told []string) {
	t.Helper()
	gone := ""
	for _, line := range told {
		switch {
		case strings.HasPrefix(line, "[LINK]") && strings.Contains(line, " master cni0 "): // a pod's, told of late
		case !strings.Contains(line, "10.244.250.0") && !strings.Contains(line, "fd00:10:244:fa::") && !strings.Contains(line, "26:1b:00:00:"):
			t.Errorf("%s: the kernel told of %q; want nothing but changes to the peer", change, line)
		case strings.Contains(line, "Deleted fd00:10:244:fa::/128"): // see network/kernel: no packet goes there
		case strings.Contains(line, "Deleted"):
			gone = line
		case gone != "":
			t.Errorf("%s: %q came after %q; want what is new first", change, line, gone)
		}
	}
	if len(told) == 0 {
		t.Errorf("%s: the kernel told of no change; want some", change)
	}
}
