// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network/pod"
)

// ipamOn runs percale ipam in the node's namespace, and returns what it
// answered and its exit code.
func ipamOn(t *testing.T, n *lab.Node, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(labtest.Bin(t), "percale"), append([]string{"--run-dir", n.Agent(0).RunDir(), "ipam"}, args...)...)
	var out []byte
	err := n.NS().Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// A pod whose interface is gone is found by percale ipam and its address freed,
// its neighbors' stay; the agent knows by itself where addresses are.
func TestIpam(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 1, Pods: 3})
	n := l.Node(1)
	await(t, n, func(s status.Status) error {
		if len(s.Addresses) != 1 || s.Addresses[0].Used != 3 || s.Addresses[0].Total != 253 {
			return fmt.Errorf("addresses = %+v; want 3 of 253", s.Addresses)
		}
		return nil
	})
	pods := n.Pods()
	lost, live := pods[0], pods[1]
	port, _ := pod.HostEnd(lost.Name, lab.UplinkName)
	if out, err := n.NS().Output("ip", "link", "del", port); err != nil {
		t.Fatal(err, out)
	}
	if out, code := ipamOn(t, n, "gc"); code != 0 || out != "freed 0 addresses\n" {
		t.Errorf("gc at once: %d, %s; want none freed so soon", code, out)
	}
	file := filepath.Join(n.Agent(0).Dir(), "networks", "cni0", lost.Addrs[0].String())
	if err := os.Chtimes(file, time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if out, code := ipamOn(t, n, "check"); code != 1 || !strings.Contains(out, lost.Addrs[0].String()+": its sandbox is gone") {
		t.Errorf("check: %d, %s; want %s found", code, out, lost.Addrs[0])
	}
	if out, code := ipamOn(t, n, "release", live.Addrs[0].String()); code != 2 || !strings.Contains(out, "is there") {
		t.Errorf("release of a live pod's: %d, %s; want a refusal", code, out)
	}
	if out, code := ipamOn(t, n, "gc"); code != 0 || !strings.HasPrefix(out, "freed "+lost.Addrs[0].String()) || !strings.HasSuffix(out, "freed 1 address\n") {
		t.Errorf("gc: %d, %s; want %s freed", code, out, lost.Addrs[0])
	}
	if out, code := ipamOn(t, n, "check"); code != 0 || !strings.HasPrefix(out, "2 addresses checked, 0 problems") {
		t.Errorf("check after gc: %d, %s; want two left", code, out)
	}
}
