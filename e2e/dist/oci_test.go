// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A container is one of a pod, as a kubelet and a container runtime make it.
type container struct {
	pod    any               // the pod's spec
	spec   any               // the container's
	rootfs string            // its image; a copy of its own is made
	host   string            // stands for the node's /: where hostPath volumes are, but for those in /proc
	files  map[string]string // further directories, by where the container has them; read-only
	env    []string
}

// bundle makes an OCI bundle of the container in dir.
func (c container) bundle(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "rootfs"), os.DirFS(c.rootfs)); err != nil {
		t.Fatal(err)
	}
	s := &specs.Spec{Version: specs.Version, Root: &specs.Root{Path: "rootfs"}, Linux: linux()}
	s.Mounts = slices.Concat(systemMounts(), c.mounts(t))
	err := errors.Join(c.process(s), c.confine(s))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// process fills in what runs: the image's entry point with the arguments.
func (c container) process(s *specs.Spec) error {
	entry, err := entrypoint()
	if err != nil {
		return err
	}
	s.Process = &specs.Process{Args: entry, Cwd: "/", Env: append(slices.Clone(c.env), "PATH=/usr/local/bin")}
	for _, a := range at(c.spec, "args").([]any) {
		s.Process.Args = append(s.Process.Args, a.(string))
	}
	return nil
}

// entrypoint returns what the Dockerfile says.
func entrypoint() (argv []string, err error) {
	b, err := os.ReadFile("../../dist/Dockerfile")
	if err != nil {
		return nil, err
	}
	_, after, ok := strings.Cut(string(b), "\nENTRYPOINT ")
	if !ok {
		return nil, errors.New("the Dockerfile has no ENTRYPOINT")
	}
	line, _, _ := strings.Cut(after, "\n")
	return argv, json.Unmarshal([]byte(line), &argv)
}

// confine applies the security contexts. What they do not say that this test
// relies on is an error.
func (c container) confine(s *specs.Spec) error {
	sc := at(c.spec, "securityContext")
	if at(c.pod, "hostNetwork") != true || at(c.pod, "hostPID") != nil || at(sc, "privileged") != nil ||
		at(c.pod, "securityContext", "seccompProfile", "type") != "RuntimeDefault" ||
		fmt.Sprint(at(sc, "capabilities", "drop")) != "[ALL]" {
		return fmt.Errorf("security contexts %s: want the host's network alone, RuntimeDefault, and all capabilities dropped", text(sc))
	}
	var caps []string
	added, _ := at(sc, "capabilities", "add").([]any)
	for _, a := range added {
		caps = append(caps, "CAP_"+a.(string))
	}
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	s.Process.NoNewPrivileges = at(sc, "allowPrivilegeEscalation") == false
	s.Root.Readonly = at(sc, "readOnlyRootFilesystem") == true
	var err error
	s.Linux.Seccomp, err = seccomp.GetDefaultProfile(s)
	return err
}

// linux is what containerd makes of every container that is not privileged.
func linux() *specs.Linux {
	return &specs.Linux{
		Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.MountNamespace}},
		MaskedPaths: []string{
			"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
			"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
		},
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
}

func systemMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}},
	}
}

// mounts are the container's volumes, made on the host where that is asked for.
func (c container) mounts(t *testing.T) []specs.Mount {
	t.Helper()
	var all []specs.Mount
	for to, from := range c.files {
		all = append(all, specs.Mount{Destination: to, Source: from, Options: []string{"rbind", "ro"}})
	}
	for _, m := range at(c.spec, "volumeMounts").([]any) {
		i := slices.IndexFunc(at(c.pod, "volumes").([]any), func(v any) bool { return at(v, "name") == at(m, "name") })
		if i < 0 {
			t.Fatalf("no volume %v", at(m, "name"))
		}
		path, ok := at(c.pod, "volumes", i, "hostPath", "path").(string)
		if !ok {
			continue // a ConfigMap, which files has
		}
		if !strings.HasPrefix(path, "/proc/") {
			path = filepath.Join(c.host, path)
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, specs.Mount{Destination: at(m, "mountPath").(string), Source: path, Options: []string{"rbind", "rw"}})
	}
	return all
}
