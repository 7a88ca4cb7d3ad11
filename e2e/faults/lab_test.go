// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
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
)

// limit bounds each wait for what is only preparation.
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
func bin(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir = os.Getenv("PERCALE_BIN"); built.dir != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "percale-bin-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", built.dir, "../../cmd/...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build the binaries: %w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

var labs atomic.Int64

// up makes a lab for one test. It goes when the test ends; of a failed test the
// agents' logs are shown before.
func up(t *testing.T, spec lab.Spec) *lab.Lab {
	t.Helper()
	spec.Name, spec.Bin = fmt.Sprintf("f%d", labs.Add(1)), bin(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	t.Cleanup(func() { down(t, spec.Name) })
	l, err := lab.Up(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func down(t *testing.T, name string) {
	if t.Failed() {
		logs, _ := filepath.Glob(filepath.Join(lab.Root, name, "n1", "*.log"))
		for _, log := range logs {
			b, err := os.ReadFile(log)
			t.Logf("%s (%v):\n%s", log, err, b[max(0, len(b)-6000):])
		}
	}
	if err := lab.Down(context.Background(), name); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(netns.Dir, name+"-*")); err != nil || len(left) > 0 {
		t.Errorf("namespaces of lab %s are left: %v %v", name, left, err)
	}
}

// run runs a tool in a namespace.
func run(t *testing.T, ns netns.NS, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := ns.Output(words[0], words[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// batch gives one ip process many commands, so that little time lies between
// them, and returns what it printed.
func batch(t *testing.T, ns netns.NS, options string, commands ...string) string {
	t.Helper()
	cmd := exec.Command("ip", append(strings.Fields(options), "-batch", "-")...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("ip %s -batch of %q in %s: %v: %s", options, commands, ns.Name(), err, out)
	}
	return string(out)
}

// eventually calls check until it returns nil, or for that long; then it
// returns check's last error.
func eventually(t *testing.T, long time.Duration, check func() error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// wait lets that much time pass, for faults that last.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
