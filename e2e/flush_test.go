// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
)

// flushes are what people and programs type to be rid of entries. Some go on
// until there is nothing left to delete, while the agent puts it back.
var flushes = []string{
	"ip -6 route flush dev flannel-v6.1",
	"ip route flush table main proto 112",
	"ip neigh flush all nud permanent",
}

// TestEndlessFlushes flushes routes and neighbors without end for three
// seconds. The agent does not answer each with a round: so many repairs in so
// short a time slow it down. When the flushes end the node is as before.
func TestEndlessFlushes(t *testing.T) {
	t.Parallel()
	const seconds, perSecond = 3, 33 // rounds: 20 repairs at once, then one each 100 ms, and what their own events cause
	l := up(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual})
	n := l.Node(1)
	settled(t, n)
	before := dataPlane(t, n)
	was, err := n.Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began, cpu := time.Now(), cpuTime(t, n.Agent(0).PID())
	var loops strings.Builder
	for _, f := range flushes {
		fmt.Fprintf(&loops, "(while :; do %s; done) & ", f)
	}
	cmd := exec.Command("timeout", "-s", "KILL", fmt.Sprint(seconds), "sh", "-c", loops.String()+"wait")
	err = n.NS().Do(cmd.Run)
	if cmd.ProcessState.ExitCode() == 0 {
		t.Fatalf("the flushes ended by themselves: %v", err)
	}
	now, err := n.Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rounds, took := now.Kernel.Count-was.Kernel.Count, time.Since(began)
	t.Logf("%d rounds with %d changes, and %v of CPU, in %v", rounds, now.Kernel.Writes-was.Kernel.Writes,
		cpuTime(t, n.Agent(0).PID())-cpu, took)
	if most := int(perSecond * took.Seconds()); rounds < 5 || rounds > most {
		t.Errorf("%d rounds in %v of flushes; want 5 to %d", rounds, took, most)
	}
	eventually(t, func() error {
		if after := dataPlane(t, n); after != before {
			return fmt.Errorf("after the flushes:\n%s\nwant as before:\n%s", after, before)
		}
		return nil
	})
	prove(t, l)
}
