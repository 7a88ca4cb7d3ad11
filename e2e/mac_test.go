// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
)

// TestNodeTakesTheMACOfItsLease writes other MACs into a running node's lease:
// it takes them, since that is what its peers send to. Between other nodes no
// packet is lost. On a machine that is busy with other things node and peer are
// late, so the changes are made again if they cost too much.
func TestNodeTakesTheMACOfItsLease(t *testing.T) {
	t.Parallel()
	const tries = 3
	l := up(t, lab.Spec{Nodes: 3, Pods: 1})
	n := l.Node(2)
	var costly error
	for again := 0; again < tries; again++ {
		if costly = changeMACs(t, l, n, mac1, mac2, mac3); costly == nil {
			break
		}
	}
	if costly != nil {
		t.Errorf("%v, in each of %d tries", costly, tries)
	}
	prove(t, l)
}

// changeMACs writes one MAC after the other into a node's lease, under pings
// from the first node to it and to a third. It reports as an error that the
// pings to it have lost too many packets.
func changeMACs(t *testing.T, l *lab.Lab, n *lab.Node, macs ...string) error {
	t.Helper()
	pods := l.Pods()
	var pings []*lab.Pinger
	for _, to := range pods[1:] {
		p, err := lab.Ping(pods[0], to, pingEvery)
		if err != nil {
			t.Fatal(err)
		}
		pings = append(pings, p)
	}
	key := leaseKey(subnetsOf(t, n))
	for _, mac := range macs {
		put(t, l, map[string]string{key: foreign("192.168.77.12", mac)})
		eventually(t, func() error {
			fdb := output(t, l.Node(1).NS(), "bridge fdb show dev flannel.1")
			if got := macOf(t, n, "flannel.1"); got != mac || !strings.Contains(fdb, mac+" dst 192.168.77.12 ") || strings.Count(fdb, " dst ") != 2 {
				return fmt.Errorf("MAC %s, FDB of a peer:\n%swant %s in both, and two entries", got, fdb, mac)
			}
			return nil
		})
	}
	sent, lost, err := pings[0].Stop()
	if otherSent, otherLost, otherErr := pings[1].Stop(); err != nil || otherErr != nil || otherLost > 0 || sent == 0 || otherSent == 0 {
		t.Errorf("pings: %d sent, %v; to another node: %d sent, %d lost, %v; want none lost there", sent, err, otherSent, otherLost, otherErr)
	}
	if most := 10 * uint64(len(macs)); lost > most {
		return fmt.Errorf("%d of %d packets lost to %d changes of the MAC; want at most %d", lost, sent, len(macs), most)
	}
	return nil
}
