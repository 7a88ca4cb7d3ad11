// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
)

const dualStack = `FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.7.1/24
FLANNEL_IPV6_NETWORK=fd00::/48
FLANNEL_IPV6_SUBNET=fd00:0:0:7::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`

// A node is the files of the node whose network namespace the process is in.
type node struct {
	dir        string // of plugins and configuration
	subnetFile string
	runDir     string
	dataDir    string // of the addresses of all networks
	network    string
}

// newNode makes the directory of plugins, and one without configuration.
func newNode(t *testing.T) node {
	t.Helper()
	dir := t.TempDir()
	n := node{dir, filepath.Join(dir, "subnet.env"), filepath.Join(dir, "run"), filepath.Join(dir, "networks"),
		fmt.Sprint("pods", os.Getpid())} // its own, since libcni keeps all results in one directory
	for _, dir := range []string{n.bin(), n.confDir()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	built := os.Getenv("PERCALE_BIN")
	if built == "" {
		t.Fatal("PERCALE_BIN is not set: make build, and set it to the directory bin")
	}
	n.link(t, filepath.Join(built, "percale-cni"))
	for _, name := range []string{"loopback", "portmap"} {
		n.link(t, plugin(t, name))
	}
	return n
}

// plugin finds a plugin of the CNI project.
func plugin(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("PERCALE_CNI_PLUGINS"), "/usr/lib/cni", "/opt/cni/bin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	lacks(t, "no plugin %s: apt-get install containernetworking-plugins", name)
	return ""
}

func (n node) link(t *testing.T, target string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(n.bin(), filepath.Base(target))); err != nil {
		t.Fatal(err)
	}
}

func (n node) bin() string     { return filepath.Join(n.dir, "bin") }
func (n node) confDir() string { return filepath.Join(n.dir, "net.d") }

func (n node) write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A conf is a part of a network configuration.
type conf map[string]any

// list writes the configuration as we ship it, but with the node's directories
// and the given other plugins behind ours. Of several versions a runtime that
// knows only old ones takes the first. It returns the file.
func (n node) list(t *testing.T, version string, others ...conf) string {
	t.Helper()
	plugins := append([]conf{{
		"type": "percale-cni", "subnetFile": n.subnetFile, "runDir": n.runDir,
		"delegate":     conf{"hairpinMode": true, "isDefaultGateway": true, "dns": conf{"nameservers": []string{"10.43.0.10"}}},
		"ipam":         conf{"dataDir": n.dataDir},
		"dataDir":      filepath.Join(n.dir, "flannel"),
		"capabilities": conf{"ips": true, "mac": true, "dns": true, "aliases": true, "bandwidth": true, "io.kubernetes.cri.pod-annotations": true},
	}}, others...)
	versions := strings.Fields(version)
	b, err := json.MarshalIndent(conf{"cniVersion": versions[0], "cniVersions": versions, "name": n.network, "plugins": plugins}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.confDir(), "10-percale.conflist")
	n.write(t, file, string(b))
	return file
}

// portmap is the CNI project's plugin for host ports.
func portmap() conf {
	return conf{"type": "portmap", "snat": true, "capabilities": conf{"portMappings": true}}
}

// reserved returns the addresses of the node that are in use.
func (n node) reserved(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.dataDir, n.network))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			got = append(got, e.Name())
		}
	}
	slices.Sort(got)
	return got
}

// cached returns the results of the node's pods that libcni keeps.
func (n node) cached(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/var/lib/cni/results/" + n.network + "-*")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wantNothing fails unless the node has no address in use, no port of a pod and
// no result.
func (n node) wantNothing(t *testing.T) {
	t.Helper()
	if got := n.reserved(t); len(got) > 0 {
		t.Errorf("reserved addresses = %v; want none", got)
	}
	if got := output(t, "ip", "-o", "link", "show", "master", "cni0"); got != "" {
		t.Errorf("links of pods = %s; want none", got)
	}
	if got := n.cached(t); len(got) > 0 {
		t.Errorf("results in libcni's cache: %v; want none", got)
	}
}

// output runs a tool on the node.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// outside makes a host that the node reaches through an uplink.
func outside(t *testing.T) netns.NS {
	t.Helper()
	host := netns.Temp(t)
	output(t, "ip", "link", "add", "uplink0", "type", "veth", "peer", "name", "eth0", "netns", host.Name())
	output(t, "ip", "addr", "add", nodeAddress+"/24", "dev", "uplink0")
	output(t, "ip", "link", "set", "uplink0", "up")
	for _, args := range []string{"addr add 192.0.2.9/24 dev eth0", "link set eth0 up"} {
		if _, err := host.Output("ip", strings.Fields(args)...); err != nil {
			t.Fatal(err)
		}
	}
	return host
}

// nodeAddress is the node's, on its uplink.
const nodeAddress = "192.0.2.1"
