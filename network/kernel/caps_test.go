// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// What percaled.service leaves to the agent.
const serviceCaps = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW

const asService = "PERCALE_TEST_AS_SERVICE"

// TestWithCapsOfService runs itself in a process that may not enter namespaces,
// not even its own.
func TestWithCapsOfService(t *testing.T) {
	t.Parallel()
	if os.Getenv(asService) != "" {
		withCapsOfService(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), asService+"=1")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	// The thread that starts the process ends then, and with it what it gave up.
	err := newNode(t).ns.Do(func() error {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		for c := range uintptr(64) {
			if serviceCaps&(1<<c) != 0 {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return err // EINVAL: the kernel knows no such capability
			}
		}
		return cmd.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Errorf("with the capabilities of the service: %v\n%s", err, out.String())
	}
}

func withCapsOfService(t *testing.T) {
	have := make([]unix.CapUserData, 2)
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0])
	if err != nil || have[0].Effective != serviceCaps || have[0].Permitted != serviceCaps || have[1] != (unix.CapUserData{}) {
		t.Fatalf("capabilities = %x, %v; want %x", have, err, serviceCaps)
	}
	c, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}, 1000), make(chan error, 1)
	go func() {
		done <- c.Watch(ctx, func() {
			select {
			case started <- struct{}{}:
			default:
			}
		})
	}()
	const setting = "net/ipv4/conf/up0/rp_filter"
	s := scope
	s.Sysctls = []string{setting}
	want := overlay(3)
	want.Sysctls[setting] = network.Sysctl{Path: setting, Value: "2"}
	n := node{Conn: c}
	n.reach(t, s, want)
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("Watch: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watch: %v", err)
	}
	if err := c.Apply(t.Context(), network.Compare(n.read(t, scope), network.NewState())); err != nil {
		t.Errorf("Apply of nothing: %v", err)
	}
	if left := n.read(t, scope); len(left.Routes)+len(left.Neighbors)+len(left.Forwards) != 0 {
		t.Errorf("left after it: %+v; want nothing of ours", left)
	}
}
