// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// needCgroups mounts control groups, which runc needs, where nobody has, as in a
// fresh machine. It does so only in mounts of our own.
func needCgroups(t *testing.T) {
	t.Helper()
	first, err := os.ReadFile("/proc/1/comm")
	if err != nil || strings.TrimSpace(string(first)) != "in-netns" {
		t.Fatalf("process 1 is %q, %v: run this in namespaces, by go test -exec $PWD/../in-netns", first, err)
	}
	const dir = "/sys/fs/cgroup"
	mounted, err := os.ReadDir(dir)
	if err == nil && len(mounted) == 0 {
		err = unix.Mount("cgroup2", dir, "cgroup2", 0, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// needRoot skips where a container cannot be made as a runtime does.
func needRoot(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(b)); len(f) != 3 || f[0] != "0" || f[1] != "0" {
		t.Skip("runc makes such containers for root alone: sudo make test")
	}
}

// TestImage runs the manifest's containers from the image's files, with the
// rights that they have in a cluster: the plugins are installed, the agent joins
// the cluster by its token, forwards, lets itself be asked, and ends in good
// order, and pods notice nothing of it.
func TestImage(t *testing.T) {
	needRoot(t)
	needCgroups(t)
	n := up(t)

	n.assertInstalls()
	n.stopForwarding()
	ended := n.start(n.container("containers"), "percaled")
	var s status
	eventually(t, func() (err error) {
		if s, err = n.status("percaled"); err == nil && (!s.Ready || s.Peers.Programmed != 1) {
			err = fmt.Errorf("not ready with one peer: %+v", s)
		}
		return err
	})
	for _, p := range s.Problems {
		t.Errorf("problem: %s: %s", p.Part, p.Seen)
	}
	n.assertConfined()
	if got := run(t, n.exec("cat", "/proc/sys/net/ipv4/ip_forward")...); got != "1\n" {
		t.Errorf("ip_forward = %q; want the agent to have switched it on", got)
	}
	for _, file := range []string{"run/flannel/subnet.env", "etc/cni/net.d/10-percale.conflist", "run/percale/percaled.sock"} {
		eventually(t, func() error {
			_, err := os.Stat(filepath.Join(n.host, file))
			return err
		})
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := n.get("127.0.0.1:8081", path); !strings.HasPrefix(got, "HTTP/1.0 200 ") {
			t.Errorf("%s = %q; want 200", path, got)
		}
	}
	run(t, n.inLab("prove")...)
	run(t, "runc", "--root", n.root, "kill", "percaled", "TERM")
	if err := ended(); err != nil {
		t.Errorf("after SIGTERM: %v; want exit status 0", err)
	}
	run(t, n.inLab("prove")...)
	if _, err := os.Stat(filepath.Join(n.host, "run/flannel/subnet.env")); errors.Is(err, fs.ErrNotExist) {
		t.Error("subnet.env went with the agent")
	}
}

// assertInstalls wants the init container to bring the plugins, however often it
// runs.
func (n *node) assertInstalls() {
	n.t.Helper()
	install := n.container("initContainers")
	for i := range 2 {
		if err := n.start(install, "install"+strconv.Itoa(i))(); err != nil {
			n.t.Errorf("install the plugins, time %d: %v", i+1, err)
		}
	}
	for _, plugin := range []string{"percale-cni", "portmap", "bandwidth", "loopback"} {
		cmd := exec.Command(filepath.Join(n.host, "opt/cni/bin", plugin))
		cmd.Env, cmd.Stdin = []string{"CNI_COMMAND=VERSION"}, strings.NewReader(`{"cniVersion": "1.0.0"}`)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"1.0.0"`) {
			n.t.Errorf("%s: %v, %s; want it to know CNI 1.0.0", plugin, err, out)
		}
	}
}

// assertConfined wants the agent to have what the manifest gives it, and no more.
func (n *node) assertConfined() {
	n.t.Helper()
	var state struct{ PID int }
	if err := json.Unmarshal([]byte(run(n.t, "runc", "--root", n.root, "state", "percaled")), &state); err != nil {
		n.t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", state.PID))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, want := range []string{"CapEff:\t0000000000003000\n", "CapBnd:\t0000000000003000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(b), want) {
			n.t.Errorf("the agent's process has no %q:\n%s", want, b)
		}
	}
}

// get asks a server on the node, as its kubelet does.
func (n *node) get(server, path string) string {
	n.t.Helper()
	c, err := n.dial(server)
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path)
	b, err := io.ReadAll(c)
	if err != nil {
		n.t.Error(err)
	}
	return string(b)
}

// dial connects from the node's namespace. The thread goes back to its own: one
// that stayed would have the lab take this process for one of its own, and end
// it.
func (n *node) dial(server string) (c net.Conn, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	there, err := os.Open("/run/netns/dist-" + n.name)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	c, err = net.DialTimeout("tcp", server, limit)
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(err) // no other goroutine may run on this thread
	}
	return c, err
}

// TestImageWithoutSysctls wants an agent that may not switch forwarding on to say
// so, with what helps.
func TestImageWithoutSysctls(t *testing.T) {
	needRoot(t)
	needCgroups(t)
	n := up(t)
	n.stopForwarding()
	c := n.container("containers")
	args := c.spec.(map[string]any)
	args["args"] = slices.DeleteFunc(arrayAt(c.spec, "args"), func(a any) bool { return strings.HasPrefix(a.(string), "--sysctl-dir") })
	ended := n.start(c, "percaled")
	eventually(t, func() error {
		s, err := n.status("percaled")
		if err == nil && (s.Ready || !strings.HasPrefix(s.Waiting, "forwarding: ") || !strings.Contains(s.Waiting, "read-only file system") ||
			!strings.Contains(s.Waiting, "--sysctl-dir")) {
			err = fmt.Errorf("status = %+v; want it to wait for forwarding, and to say what helps", s)
		}
		return err
	})
	run(t, "runc", "--root", n.root, "kill", "percaled", "TERM")
	if err := ended(); err != nil {
		t.Errorf("after SIGTERM: %v; want exit status 0", err)
	}
}
