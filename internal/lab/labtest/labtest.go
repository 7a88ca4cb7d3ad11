// SPDX-License-Identifier: Apache-2.0

// Package labtest makes labs for tests: each has its own, and nothing of it is
// left when the test ends.
package labtest

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
)

// limit bounds the making of a lab, and its proof; kubeLimit is for one with
// Kubernetes, on a machine that is busy.
const (
	limit     = time.Minute
	kubeLimit = 3 * time.Minute
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// Main runs the tests of a package that uses Up, and removes the binaries that
// were built for them. It returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if os.Getenv("PERCALE_BIN") == "" && built.dir != "" {
		os.RemoveAll(built.dir)
	}
	return code
}

// Bin returns the directory of the binaries, which it builds unless told where
// they are.
func Bin(tb testing.TB) string {
	tb.Helper()
	built.once.Do(func() {
		if built.dir = os.Getenv("PERCALE_BIN"); built.dir != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "percale-bin-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", built.dir, "github.com/percale-net/percale/cmd/...")
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

// NewName returns a lab's name of its own. Tests of other packages, which may
// run at the same time, begin theirs with another letter.
func NewName() string {
	return fmt.Sprintf("%.1s%d", filepath.Base(os.Args[0]), labs.Add(1))
}

// Up makes a lab for one test. When the test ends the lab goes, and with it
// everything that it made; of a failed test the logs are shown before.
func Up(tb testing.TB, spec lab.Spec) *lab.Lab {
	tb.Helper()
	spec.Name, spec.Bin = NewName(), Bin(tb)
	long := limit
	if spec.Store == lab.StoreKube {
		long = kubeLimit
	}
	ctx, cancel := context.WithTimeout(tb.Context(), long)
	defer cancel()
	tb.Cleanup(func() { Down(tb, spec.Name) })
	l, err := lab.Up(ctx, spec)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// Prove fails the test unless every pod reaches every other in every way.
func Prove(tb testing.TB, l *lab.Lab) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	proof, err := l.Prove(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	if len(proof.Bad()) > 0 || len(proof.Cells) == 0 {
		tb.Errorf("not every pod reaches every other:\n%s", proof)
	}
}

// Eventually calls check until it returns nil, or for that long; then it
// returns check's last error.
func Eventually(tb testing.TB, long time.Duration, check func() error) error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), long)
	defer cancel()
	return Until(ctx, check)
}

// Until calls check until it returns nil, or until ctx ends; then it returns
// check's last error.
func Until(ctx context.Context, check func() error) error {
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

// Down removes a lab, and fails the test if anything of it is left. Of a failed
// test it shows the logs before.
func Down(tb testing.TB, name string) {
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
	AssertGone(tb, name)
}

// AssertGone fails the test if anything of a lab is left.
func AssertGone(tb testing.TB, name string) {
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
