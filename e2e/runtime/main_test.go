// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/cnitool/cmd"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// With this name, the test binary is the CNI project's cnitool.
const toolName = "cnitool"

// nodeKey is in the environment of a process that is the node of one test.
const nodeKey = "PERCALE_RUNTIME_NODE"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == toolName {
		if err := cmd.Execute(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// Or each process that a test starts takes a second longer under the race detector.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	if os.Getenv(nodeKey) != "" {
		return m.Run()
	}
	if err := hide(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// hide puts an empty directory over /var/lib, where libcni keeps results
// (/var/lib/cni). It does so only in mounts of our own.
func hide() error {
	comm, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(comm)) != "in-netns" {
		return fmt.Errorf("these tests write to /run and /var/lib: run them in namespaces, by go test -exec $PWD/../in-netns")
	}
	if err := mount("tmpfs", "/var/lib", "mode=755"); err != nil {
		return err
	}
	if mounted, err := os.ReadDir(cgroupDir); err != nil || len(mounted) > 0 || !isRoot() {
		return err
	}
	return mountCgroups()
}

// isRoot tells whether this is the machine's root, not that of a user
// namespace.
func isRoot() bool {
	users, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && slices.Equal(strings.Fields(string(users)), []string{"0", "0", "4294967295"})
}

const cgroupDir = "/sys/fs/cgroup"

// mountCgroups mounts what the kernel has of control groups, which runc needs,
// where nobody has: each controller of version 1 by itself, or version 2.
func mountCgroups() error {
	own, err := os.ReadFile("/proc/self/cgroup") // such as 3:cpuset:/ or 0::/
	if err != nil {
		return err
	}
	lines := strings.Fields(string(own))
	if len(lines) == 1 {
		return mount("cgroup2", cgroupDir, "")
	}
	if err := mount("tmpfs", cgroupDir, "mode=755"); err != nil {
		return err
	}
	for _, line := range lines {
		controllers := strings.Split(line, ":")[1]
		dir := filepath.Join(cgroupDir, strings.TrimPrefix(controllers, "name="))
		if controllers == "" {
			continue // runc needs no version 2 beside version 1
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := mount("cgroup", dir, controllers); err != nil {
			return err
		}
	}
	return nil
}

func mount(kind, dir, options string) error {
	if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, dir, err)
	}
	return nil
}

// onNode runs fn in a process of its own, the network namespace of which is a
// node's: runtimes start plugins from threads that no test can choose.
func onNode(t *testing.T, fn func(n node)) {
	t.Helper()
	if isNode(t) {
		fn(newNode(t))
		return
	}
	t.Parallel()
	runOn(t, netns.Temp(t))
}

// isNode tells whether this process is the node of the test.
func isNode(t *testing.T) bool { return os.Getenv(nodeKey) == t.Name() }

// runOn runs the test again, in a process that is a node.
func runOn(t *testing.T, ns netns.NS) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	child.Env = append(os.Environ(), nodeKey+"="+t.Name(), "TMPDIR="+t.TempDir()) // which goes, even if it crashes
	var out strings.Builder
	child.Stdout, child.Stderr = &out, &out
	err := ns.Start(child)
	if err == nil {
		err = child.Wait()
	}
	t.Log(strings.TrimSpace(out.String()))
	switch {
	case err != nil:
		t.Errorf("on the node: %v", err)
	case strings.Contains(out.String(), "--- SKIP"):
		t.SkipNow()
	}
}

// lacks skips the test, or fails it where PERCALE_NOSKIP says that nothing is
// missing.
func lacks(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("PERCALE_NOSKIP") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
