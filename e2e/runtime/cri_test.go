// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A sandbox is a pod as the runtime has it.
type sandbox struct {
	id     string
	config *cri.PodSandboxConfig
}

// podConfig is what a kubelet asks for.
func (c *containerd) podConfig(name string, ports ...*cri.PortMapping) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "ns1", Uid: "uid-" + name},
		Hostname:     name,
		LogDirectory: filepath.Join(c.run, "pods", name),
		DnsConfig:    &cri.DNSConfig{Servers: []string{"10.43.0.10"}, Searches: []string{"cluster.local"}},
		PortMappings: ports,
		Linux:        &cri.LinuxPodSandboxConfig{CgroupParent: c.cgroup},
	}
}

// runPod starts a sandbox, and in it a server on port 80. It returns the
// sandbox and the container.
func (c *containerd) runPod(t *testing.T, name string, ports ...*cri.PortMapping) (sandbox, string) {
	t.Helper()
	s, err := c.runSandbox(t, c.podConfig(name, ports...))
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.CreateContainer(t.Context(), &cri.CreateContainerRequest{
		PodSandboxId: s.id, SandboxConfig: s.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "server"}, Image: &cri.ImageSpec{Image: image}, Args: []string{"serve", ":80"},
			LogPath: "server.log", Linux: &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return s, made.ContainerId
}

func (c *containerd) runSandbox(t *testing.T, config *cri.PodSandboxConfig) (sandbox, error) {
	t.Helper()
	made, err := c.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return sandbox{}, err
	}
	return sandbox{made.PodSandboxId, config}, nil
}

// addresses returns those that the runtime tells the kubelet.
func (c *containerd) addresses(t *testing.T, s sandbox) []string {
	t.Helper()
	got, err := c.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: s.id})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status.State != cri.PodSandboxState_SANDBOX_READY {
		t.Errorf("sandbox %s is %v", s.config.Metadata.Name, got.Status.State)
	}
	network := got.Status.Network
	all := []string{network.Ip}
	for _, more := range network.AdditionalIps {
		all = append(all, more.Ip)
	}
	return all
}

func (c *containerd) stopPod(t *testing.T, s sandbox) {
	t.Helper()
	if _, err := c.StopPodSandbox(t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: s.id}); err != nil {
		t.Errorf("stop sandbox: %v", err)
	}
}

func (c *containerd) removePod(t *testing.T, s sandbox) {
	t.Helper()
	if _, err := c.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: s.id}); err != nil {
		t.Errorf("remove sandbox: %v", err)
	}
}

// dial connects from inside of a container, and returns what the server says.
func (c *containerd) dial(t *testing.T, container, address string) string {
	t.Helper()
	r, err := c.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: container, Cmd: []string{"/pod", "dial", address}, Timeout: 30})
	if err != nil {
		t.Errorf("dial %s: %v", address, err)
		return ""
	}
	if r.ExitCode != 0 {
		t.Errorf("dial %s: exit code %d: %s", address, r.ExitCode, r.Stderr)
	}
	return string(r.Stdout)
}

// netnsOf returns the file of a sandbox's network namespace.
func (c *containerd) netnsOf(t *testing.T, s sandbox) string {
	t.Helper()
	r, err := c.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: s.id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		RuntimeSpec struct {
			Linux struct {
				Namespaces []struct{ Type, Path string }
			}
		}
	}
	if err := json.Unmarshal([]byte(r.Info["info"]), &info); err != nil {
		t.Fatal(err)
	}
	for _, space := range info.RuntimeSpec.Linux.Namespaces {
		if space.Type == "network" && space.Path != "" {
			return space.Path
		}
	}
	t.Fatalf("sandbox %s has no network namespace: %s", s.config.Metadata.Name, r.Info["info"])
	return ""
}

// networkReady returns the condition by which the kubelet judges the network.
func (c *containerd) networkReady(t *testing.T) *cri.RuntimeCondition {
	t.Helper()
	r, err := c.Status(t.Context(), &cri.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Status.Conditions, func(c *cri.RuntimeCondition) bool { return c.Type == "NetworkReady" })
	if i < 0 {
		t.Fatalf("conditions = %v; want NetworkReady", r.Status.Conditions)
	}
	return r.Status.Conditions[i]
}
