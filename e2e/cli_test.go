// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/netns"
)

// percale runs the operator's tool on a node and returns what it answers.
// Exit code 1, a problem found, is an answer too.
func percale(t *testing.T, n *lab.Node, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(labtest.Bin(t), "percale"), append([]string{"--run-dir", n.Agent(0).RunDir()}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		t.Fatalf("percale %v: %v", args, err)
	}
	return string(out)
}

// percaleLab runs percale-lab and returns what it printed and its exit code.
func percaleLab(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(labtest.Bin(t), "percale-lab"), append([]string{"--name", name}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestPercale(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2})
	n, peer := l.Node(1), l.Node(2)
	text := percale(t, n, "status")
	for _, want := range []string{n.Name(), subnetsOf(t, n)[0].String(), "192.168.77.11", "eth0", "1450"} {
		if !strings.Contains(text, want) {
			t.Errorf("percale status:\n%swant %q in it", text, want)
		}
	}
	text = percale(t, n, "peers")
	for _, want := range []string{peer.Name(), subnetsOf(t, peer)[0].String(), "192.168.77.12"} {
		if !strings.Contains(text, want) {
			t.Errorf("percale peers:\n%swant %q in it", text, want)
		}
	}
}

// TestLabByHand types what README and make demo do.
func TestLabByHand(t *testing.T) {
	t.Parallel()
	name := labtest.NewName()
	t.Cleanup(func() { labtest.Down(t, name) })
	for _, step := range []struct {
		args string
		code int
		want []string
	}{
		{"status", 2, []string{"there is none"}},
		{"up --nodes 2 --pods 1", 0, []string{"2 nodes, 2 pods"}},
		{"up", 2, []string{"up already"}},
		{"status", 0, []string{"n1", "n2", "ready", "192.168.77.12", "1/1"}},
		{"prove", 0, []string{"n1-p1", "2 ways: 2 ok", "exec n1 -- ip route"}},
		{"exec n1 -- ip route", 0, []string{"dev flannel.1 proto 112"}},
		{"exec n1-p1 ip address show eth0", 0, []string{"mtu 1450"}},
		{"exec n1 -- percale peers", 0, []string{"n2"}},
		{"exec n1 -- sh -c false", 1, nil},
		{"exec n7 true", 2, []string{"has no n7"}},
		{"exec n1 -- ip link set dev flannel.1 down", 0, nil},
		{"down", 0, nil},
		{"down", 0, nil},
	} {
		out, code := percaleLab(t, name, strings.Fields(step.args)...)
		if code != step.code {
			t.Errorf("percale-lab %s: exit code %d; want %d:\n%s", step.args, code, step.code, out)
		}
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Errorf("percale-lab %s:\n%swant %q in it", step.args, out, want)
			}
		}
	}
	labtest.AssertGone(t, name)
}

// TestInterruptedUp ends percale-lab up half-way. After ^C nothing is left;
// after SIGKILL the next up or down cleans up.
func TestInterruptedUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		sig   os.Signal
		after string // the command that is to clean up
	}{
		{"SIGINT", os.Interrupt, ""},
		{"SIGTERM", syscall.SIGTERM, ""},
		{"SIGKILL, then down", os.Kill, "down"},
		{"SIGKILL, then up", os.Kill, "up --nodes 1 --pods 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			name := labtest.NewName()
			t.Cleanup(func() { labtest.Down(t, name) })
			cmd := exec.Command(filepath.Join(labtest.Bin(t), "percale-lab"), "--name", name, "up", "--nodes", "20", "--pods", "3")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() error { // it has etcd and some nodes
				_, err := os.Stat(netns.Named(name + "-n3").Path())
				return err
			})
			if err := cmd.Process.Signal(test.sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("percale-lab up succeeded; it was to be interrupted")
			}
			if test.after == "" {
				labtest.AssertGone(t, name)
				return
			}
			if out, code := percaleLab(t, name, strings.Fields(test.after)...); code != 0 {
				t.Errorf("percale-lab %s: exit code %d:\n%s", test.after, code, out)
			}
			if left, _ := filepath.Glob(filepath.Join(netns.Dir, name+"-n2*")); len(left) > 0 {
				t.Errorf("namespaces of the interrupted up are left: %v", left)
			}
		})
	}
}

// TestBadCommandLine wants exit code 2 and one line that says what is right.
func TestBadCommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ program, arg, want string }{
		{"percaled", "--ip-mask=true", "ip-masq"},
		{"percaled", "--healthz-port=http", "healthz-port"},
		{"percaled", "--public-ip=here", "public-ip"},
		{"percale", "--run-dir=/nonexistent", ""},
		{"percale-lab", "--name=UPPER", ""},
	} {
		args := []string{test.arg}
		if test.program != "percaled" {
			args = append(args, map[string]string{"percale": "status", "percale-lab": "up"}[test.program])
		}
		cmd := exec.Command(filepath.Join(labtest.Bin(t), test.program), args...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), test.want) || len(out) == 0 {
			t.Errorf("%s %v: exit code %d, %q; want 2 and one that names %q", test.program, args, code, out, test.want)
		}
		if test.program == "percaled" && strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s %v printed %q; want one line", test.program, args, out)
		}
	}
}
