// SPDX-License-Identifier: Apache-2.0

// Package capstest runs a test with the capabilities that percaled.service
// leaves to the agent, which do not let it enter a namespace, not even its own.
package capstest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// What percaled.service leaves to the agent.
const serviceCaps = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW

const asService = "PERCALE_TEST_AS_SERVICE"

// Run runs test in ns, in a process of its own: the calling test, which must be
// no subtest, is run again there with those capabilities alone.
func Run(t *testing.T, ns netns.NS, test func(t *testing.T)) {
	t.Helper()
	if Again() {
		assertCaps(t)
		test(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), asService+"=1")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	// The thread that starts the process ends then, and with it what it gave up.
	err := ns.Do(func() error {
		if err := dropCaps(); err != nil {
			return err
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

// Again reports whether this is the process that Run started: what the test
// prepares outside is there already.
func Again() bool { return os.Getenv(asService) != "" }

// dropCaps takes the other capabilities from what the thread executes.
func dropCaps() error {
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
	return nil
}

func assertCaps(t *testing.T) {
	t.Helper()
	have := make([]unix.CapUserData, 2)
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0])
	if err != nil || have[0].Effective != serviceCaps || have[0].Permitted != serviceCaps || have[1] != (unix.CapUserData{}) {
		t.Fatalf("capabilities = %x, %v; want %x", have, err, serviceCaps)
	}
}
