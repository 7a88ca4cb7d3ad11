// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// limit bounds each wait for something that is to happen.
const limit = time.Minute

// bin returns the path of a file among the built binaries.
func bin(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(os.Getenv("PERCALE_BIN"), name)
	if _, err := os.Stat(path); err != nil || !filepath.IsAbs(path) {
		t.Fatalf("%v: PERCALE_BIN must have what make build kubeapi image-root makes", err)
	}
	return path
}

// A node is one of a lab on Kubernetes, whose agent runs in a container.
type node struct {
	t    *testing.T
	lab  []string // command line of percale-lab
	name string
	host string // stands for the node's /
	args []string
	root string // runc's state
}

// run runs a command and returns what it prints.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", argv, err, out)
	}
	return string(out)
}

// up makes a lab of two nodes and ends the first one's agent.
func up(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, lab: []string{bin(t, "percale-lab"), "--name", "dist"}, name: "n1", host: t.TempDir(), root: t.TempDir()}
	t.Cleanup(func() { run(t, n.inLab("down")...) })
	run(t, n.inLab("up", "--store", "kube", "--nodes", "2", "--pods", "1")...)
	var s status
	if err := json.Unmarshal([]byte(run(t, n.exec("percale", "status", "-o", "json")...)), &s); err != nil || s.PID == 0 {
		t.Fatalf("status of %s: %+v, %v", n.name, s, err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID))
	if err != nil {
		t.Fatal(err)
	}
	n.args = strings.Split(string(b), "\x00")
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := syscall.Kill(s.PID, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("the agent of %s has not ended: %v", n.name, err)
		}
		return nil
	})
	return n
}

func (n *node) inLab(argv ...string) []string { return slices.Concat(n.lab, argv) }

// exec returns the command line that runs another one on the node.
func (n *node) exec(argv ...string) []string {
	return n.inLab(append([]string{"exec", n.name, "--"}, argv...)...)
}

// A status is what of percale's the test looks at.
type status struct {
	PID      int
	Ready    bool
	Waiting  string
	Peers    struct{ Known, Programmed int }
	Problems []struct{ Part, Seen string }
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// container is what a kubelet makes of a container of the manifest.
func (n *node) container(list string) container {
	t := n.t
	t.Helper()
	pod := at(manifest(t)["DaemonSet percale"], "spec", "template", "spec")
	c := container{pod: pod, spec: at(pod, list, 0), rootfs: bin(t, "rootfs"), host: n.host}
	kubeconfig := n.flag("kubeconfig-file")
	var conf map[string]any
	b, err := os.ReadFile(kubeconfig)
	if err := errors.Join(err, yaml.Unmarshal(b, &conf)); err != nil {
		t.Fatal(err)
	}
	cluster := at(conf, "clusters", 0, "cluster")
	server, _ := strings.CutPrefix(at(cluster, "server").(string), "https://")
	colon := strings.LastIndexByte(server, ':')
	c.env = []string{"KUBERNETES_SERVICE_HOST=" + server[:colon], "KUBERNETES_SERVICE_PORT=" + server[colon+1:]}
	for _, e := range arrayAt(c.spec, "env") {
		if at(e, "valueFrom", "fieldRef", "fieldPath") == "spec.nodeName" {
			c.env = append(c.env, fmt.Sprint(at(e, "name"), "=", n.name))
		}
	}
	account, files := t.TempDir(), t.TempDir()
	copies := map[string]string{
		filepath.Join(account, "token"):       at(conf, "users", 0, "user", "tokenFile").(string),
		filepath.Join(account, "ca.crt"):      at(cluster, "certificate-authority").(string),
		filepath.Join(files, "net-conf.json"): n.flag("net-config-path"),
	}
	for to, from := range copies {
		b, err := os.ReadFile(from)
		if err := errors.Join(err, os.WriteFile(to, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	conflist := at(manifest(t)["ConfigMap percale-conf"], "data", "10-percale.conflist").(string)
	if err := os.WriteFile(filepath.Join(files, "10-percale.conflist"), []byte(conflist), 0o644); err != nil {
		t.Fatal(err)
	}
	c.files = map[string]string{"/var/run/secrets/kubernetes.io/serviceaccount": account, "/etc/percale": files}
	return c
}

func arrayAt(v any, path ...any) []any {
	a, _ := at(v, path...).([]any)
	return a
}

// flag returns the value of a flag of the lab's own agent.
func (n *node) flag(name string) string {
	for _, a := range n.args {
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return v
		}
	}
	n.t.Fatalf("the lab's agent has no --%s: %q", name, n.args)
	return ""
}

// start starts a container in the background; ended returns when it has ended.
func (n *node) start(c container, id string) (ended func() error) {
	t := n.t
	t.Helper()
	dir := t.TempDir()
	c.bundle(t, dir)
	argv := n.exec("runc", "--root", n.root, "run", "--bundle", dir, id)
	cmd := exec.Command(argv[0], argv[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		exec.Command("runc", "--root", n.root, "delete", "--force", id).Run() // of a failed test
		if t.Failed() {
			t.Logf("container %s printed:\n%s", id, out.String())
		}
	})
	return func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(limit):
			return errors.New("it has not ended")
		}
	}
}

// status asks the agent in a container, as kubectl exec does.
func (n *node) status(id string) (s status, err error) {
	out, err := exec.Command("runc", "--root", n.root, "exec", id, "percale", "status", "-o", "json").Output()
	if len(out) == 0 {
		return s, fmt.Errorf("percale status in %s: %v", id, err)
	}
	return s, json.Unmarshal(out, &s)
}

// stopForwarding has the node forward no packets.
func (n *node) stopForwarding() {
	run(n.t, n.exec("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")...)
}
