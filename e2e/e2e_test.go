// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/internal/status"
)

// limit bounds each wait for something that is to happen. It is no measure:
// on an idle machine all of them take well under a second.
const limit = time.Minute

var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("PERCALE_BIN") == "" && built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// bin returns the directory of the binaries, which it builds unless told where
// they are.
func bin(tb testing.TB) string {
	tb.Helper()
	built.once.Do(func() {
		if built.dir = os.Getenv("PERCALE_BIN"); built.dir != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "percale-bin-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", built.dir, "../cmd/...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build the binaries: %w: %s", err, out)
		}
	})
	if built.err != nil {
		tb.Fatal(built.err)
	}
	return built.dir
}

var labs atomic.Int64

// newName returns a lab's name of its own.
func newName() string { return fmt.Sprintf("e%d", labs.Add(1)) }

// up makes a lab for one test. When the test ends the lab goes, and with it
// everything that it made; of a failed test the logs are shown before.
func up(tb testing.TB, spec lab.Spec) *lab.Lab {
	tb.Helper()
	spec.Name, spec.Bin = newName(), bin(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	tb.Cleanup(func() { down(tb, spec.Name) })
	l, err := lab.Up(ctx, spec)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func down(tb testing.TB, name string) {
	if tb.Failed() {
		logs, _ := filepath.Glob(filepath.Join(lab.Root, name, "*", "*.log"))
		for _, log := range logs {
			b, err := os.ReadFile(log)
			tb.Logf("%s (%v):\n%s", log, err, b[max(0, len(b)-4000):])
		}
	}
	if err := lab.Down(context.Background(), name); err != nil {
		tb.Error(err)
	}
	assertGone(tb, name)
}

// assertGone fails the test if anything of a lab is left.
func assertGone(tb testing.TB, name string) {
	tb.Helper()
	left, err := filepath.Glob(filepath.Join(netns.Dir, name+"-*"))
	if err != nil || len(left) > 0 {
		tb.Errorf("namespaces of lab %s are left: %v %v", name, left, err)
	}
	dir := filepath.Join(lab.Root, name)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		tb.Errorf("folder %s is left: %v", dir, err)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range procs {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), dir+"/") {
			tb.Errorf("process is left: %s: %q", p, b)
		}
	}
}

// prove fails the test unless every pod reaches every other in every way.
func prove(t *testing.T, l *lab.Lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	proof, err := l.Prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(proof.Bad()) > 0 || len(proof.Cells) == 0 {
		t.Errorf("not every pod reaches every other:\n%s", proof)
	}
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
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for err := check(); err != nil; err = check() {
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-tick.C:
		}
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
