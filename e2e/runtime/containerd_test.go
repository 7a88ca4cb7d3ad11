// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Its own directories, its own socket, and none of the plugins that reach
// outside of them. Releases from 2.0 on read this form too.
const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "%[1]s/sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + image + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[2]s"
    conf_dir = "%[3]s"
    max_conf_num = 1
`

// A containerd is one on a node, with all that it needs, and a client.
type containerd struct {
	node
	run    string // directory of its own in /run, short enough for sockets
	image  string
	cgroup string
	log    *os.File
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	cri.RuntimeServiceClient
}

// newContainerd starts containerd with its image. When the test ends,
// everything that it made is gone.
func newContainerd(t *testing.T, n node) *containerd {
	t.Helper()
	path := os.Getenv("PERCALE_CONTAINERD") + string(os.PathListSeparator) + os.Getenv("PATH")
	t.Setenv("PATH", strings.TrimPrefix(path, string(os.PathListSeparator)))
	for _, tool := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacks(t, "%v: apt-get install containerd runc", err)
		}
	}
	if !isRoot() {
		lacks(t, "containerd needs root, not that of a user namespace: sudo make test")
	}
	run, err := os.MkdirTemp("/run", "c")
	if err != nil {
		t.Fatal(err)
	}
	c := &containerd{node: n, run: run, image: buildImage(t, n.dir), cgroup: "/percale-" + filepath.Base(run) + fmt.Sprint(os.Getpid())}
	n.write(t, filepath.Join(run, "config.toml"), fmt.Sprintf(containerdConfig, run, n.bin(), n.confDir()))
	if c.log, err = os.Create(filepath.Join(run, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.remove(t) })
	c.start(t)
	output(t, "ctr", "--address", filepath.Join(run, "sock"), "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", c.image)
	return c
}

// start starts the process and waits until it serves.
func (c *containerd) start(t *testing.T) {
	t.Helper()
	c.cmd = exec.Command("containerd", "--config", filepath.Join(c.run, "config.toml"))
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if c.conn == nil {
		conn, err := grpc.NewClient("unix://"+filepath.Join(c.run, "sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		c.conn, c.RuntimeServiceClient = conn, cri.NewRuntimeServiceClient(conn)
	}
	eventually(t, "containerd serves", func() error {
		_, err := c.Status(t.Context(), &cri.StatusRequest{})
		return err
	})
}

// stop ends the process, but not the sandboxes.
func (c *containerd) stop(t *testing.T, how os.Signal) {
	t.Helper()
	if c.cmd == nil {
		return
	}
	if err := c.cmd.Process.Signal(how); err != nil {
		t.Error(err)
	}
	hung := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer hung.Stop()
	_ = c.cmd.Wait() // it was told to end
	c.cmd = nil
}

// remove ends everything that containerd and the test made, even after a
// failure, and tells what was left.
func (c *containerd) remove(t *testing.T) {
	if c.cmd != nil {
		c.removeAll(t)
	}
	c.stop(t, syscall.SIGTERM)
	if c.conn != nil {
		c.conn.Close()
	}
	if log, err := os.ReadFile(c.log.Name()); t.Failed() && err == nil {
		t.Logf("log of containerd:\n%s", log)
	}
	c.log.Close()
	for _, pid := range processesOf(c.run) {
		t.Errorf("process %d is left", pid)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	for _, dir := range cgroups(c.cgroup) {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), c.run+"/") {
		t.Errorf("mounts below %s are left, %v:\n%s", c.run, err, mounts)
		return
	}
	if err := os.RemoveAll(c.run); err != nil {
		t.Error(err)
	}
}

// removeAll removes all sandboxes, those too that could not be started.
func (c *containerd) removeAll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	all, err := c.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, s := range all.Items {
		if _, err := c.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			t.Error(err)
		}
	}
}

// processesOf returns the processes that name a directory in their command:
// the shims of its sandboxes.
func processesOf(dir string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/cmdline", &pid); err != nil || pid == os.Getpid() {
			continue
		}
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cgroups returns the directories of a control group, in all hierarchies, the
// innermost first.
func cgroups(name string) []string {
	var dirs []string
	for _, pattern := range []string{"/sys/fs/cgroup" + name, "/sys/fs/cgroup/*" + name} {
		outer, _ := filepath.Glob(pattern)
		for _, dir := range outer {
			inner, _ := filepath.Glob(dir + "/*/")
			dirs = append(append(dirs, inner...), dir)
		}
	}
	return dirs
}

// eventually waits until fn succeeds.
func eventually(t *testing.T, what string, fn func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}
