// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/internal/status"
)

// limit bounds each wait for something that is to happen. It is no measure:
// on an idle machine all of them take well under a second.
const limit = time.Minute

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

func up(tb testing.TB, spec lab.Spec) *lab.Lab {
	tb.Helper()
	return labtest.Up(tb, spec)
}

func prove(t *testing.T, l *lab.Lab) {
	t.Helper()
	labtest.Prove(t, l)
}

// ready waits until the agent of each node holds exactly that many peers.
func ready(t *testing.T, peers int, nodes ...*lab.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, n := range nodes {
		if err := n.Agent(0).WaitReady(ctx, peers); err != nil {
			t.Fatal(err)
		}
	}
}

// await waits until the state of a node's agent pleases check.
func await(t *testing.T, n *lab.Node, check func(status.Status) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := n.Agent(0).Wait(ctx, check); err != nil {
		t.Fatal(err)
	}
}

// eventually calls check until it returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	if err := labtest.Eventually(t, limit, check); err != nil {
		t.Fatal(err)
	}
}

// output runs a tool in a namespace and returns what it printed.
func output(tb testing.TB, ns netns.NS, command string) string {
	tb.Helper()
	words := strings.Fields(command)
	out, err := ns.Output(words[0], words[1:]...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// put writes a key of the lab's etcd; an empty value deletes it.
func put(tb testing.TB, l *lab.Lab, kvs map[string]string) {
	tb.Helper()
	client, err := l.Etcd()
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	for k, v := range kvs {
		if v == "" {
			_, err = client.Delete(tb.Context(), l.Spec().EtcdPrefix(0)+k)
		} else {
			_, err = client.Put(tb.Context(), l.Spec().EtcdPrefix(0)+k, v)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// dataPlane returns all that an agent may have put into a node's kernel, as the
// usual tools show it. Of the forwarding entries these are the ones of tunnels;
// bridges learn theirs from traffic.
func dataPlane(tb testing.TB, n *lab.Node) string {
	tb.Helper()
	var b strings.Builder
	for _, command := range []string{
		"ip -d address show type vxlan", "ip -4 route show proto 112", "ip -6 route show proto 112",
		"ip -4 neigh show nud permanent", "ip -6 neigh show nud permanent", "bridge fdb show",
	} {
		fmt.Fprintf(&b, "$ %s\n", command)
		for line := range strings.Lines(output(tb, n.NS(), command)) {
			if command != "bridge fdb show" || strings.Contains(line, " dst ") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}
