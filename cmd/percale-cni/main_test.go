// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet/local"
)

// With asPlugin in its environment, the test binary is the plugin.
const asPlugin = "PERCALE_CNI_TEST_PLUGIN"

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == witnessName:
		os.Exit(witness())
	case os.Getenv(asPlugin) != "", filepath.Base(os.Args[0]) == pluginName:
		os.Exit(run())
	}
	// Or each process takes a second longer under the race detector.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

const envV4 = `FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.7.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`

const envDual = `FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.7.1/24
FLANNEL_IPV6_NETWORK=fd00::/48
FLANNEL_IPV6_SUBNET=fd00:0:0:7::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`

const envV6 = `FLANNEL_IPV6_NETWORK=fd00::/48
FLANNEL_IPV6_SUBNET=fd00:0:0:7::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`

// A node is a namespace with a subnet file and directories of its own.
type node struct {
	netns.NS
	dir string
}

func newNode(t *testing.T, env string) node {
	t.Helper()
	n := node{netns.Temp(t), t.TempDir()}
	n.writeEnv(t, env)
	return n
}

func (n node) writeEnv(t *testing.T, env string) {
	t.Helper()
	if err := os.WriteFile(n.envPath(), []byte(env), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (n node) envPath() string { return filepath.Join(n.dir, "subnet.env") }

// A conf is a network configuration.
type conf map[string]any

// conf returns the node's configuration with the given keys of delegate.
func (n node) conf(delegate conf) conf {
	return conf{
		"cniVersion": "1.1.0", "name": "pods", "type": "percale-cni",
		"subnetFile": n.envPath(), "runDir": filepath.Join(n.dir, "run"),
		"delegate": delegate, "ipam": conf{"dataDir": filepath.Join(n.dir, "networks")}, "dataDir": filepath.Join(n.dir, "flannel"),
	}
}

// A call is what the runtime asks for.
type call struct {
	command, container, netns, ifname string
	conf                              any // []byte goes as it is
}

// A noteError says that a call went well, and wrote a note.
type noteError struct{ stderr string }

func (e *noteError) Error() string { return "plugin wrote on stderr: " + e.stderr }

// do runs the plugin on the node, and returns what it prints, or the CNI error
// that it prints.
func (n node) do(t *testing.T, c call) ([]byte, error) {
	t.Helper()
	out, err := n.raw(t, c)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return out, err
	}
	var failed types.Error
	if bad := json.Unmarshal(out, &failed); bad != nil || failed.Code == 0 {
		return nil, fmt.Errorf("plugin ended with %w and printed no CNI error: %q", err, out)
	}
	return nil, &failed
}

// raw runs the plugin on the node, and returns what it prints on standard
// output, and how it ends: an *exec.ExitError, or a *noteError.
func (n node) raw(t *testing.T, c call) ([]byte, error) {
	t.Helper()
	stdin, ok := c.conf.([]byte)
	if !ok {
		var err error
		if stdin, err = json.Marshal(c.conf); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	cmd.Env = append(os.Environ(), asPlugin+"=1", "CNI_COMMAND="+c.command, "CNI_CONTAINERID="+c.container,
		"CNI_NETNS="+c.netns, "CNI_IFNAME="+c.ifname, "CNI_PATH=/opt/cni/bin", "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=ns1;K8S_POD_NAME=x")
	err := n.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if err == nil && stderr.Len() > 0 {
		err = &noteError{stderr.String()}
	}
	return stdout.Bytes(), err
}

// add adds a container to the network.
func (n node) add(t *testing.T, container string, pod netns.NS, c conf) (*types100.Result, error) {
	t.Helper()
	out, err := n.do(t, call{"ADD", container, pod.Path(), "eth0", c})
	if err != nil {
		return nil, err
	}
	var r types100.Result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("ADD printed %q: %v", out, err)
	}
	return &r, nil
}

func (n node) mustAdd(t *testing.T, container string, pod netns.NS, c conf) *types100.Result {
	t.Helper()
	r, err := n.add(t, container, pod, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (n node) del(t *testing.T, container, netns string, c conf) error {
	t.Helper()
	out, err := n.do(t, call{"DEL", container, netns, "eth0", c})
	if err == nil && len(out) > 0 {
		t.Errorf("DEL printed %q; want nothing", out)
	}
	return err
}

func (n node) check(t *testing.T, container string, pod netns.NS, c conf, prev *types100.Result) error {
	t.Helper()
	with := maps.Clone(c)
	with["prevResult"] = prev
	_, err := n.do(t, call{"CHECK", container, pod.Path(), "eth0", with})
	return err
}

// ip runs a command of iproute2 in a namespace.
func ip(t *testing.T, ns netns.NS, args string) string {
	t.Helper()
	out, err := ns.Output("ip", strings.Fields(args)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// state reads a namespace.
func state(t *testing.T, ns netns.NS, devices ...string) network.State {
	t.Helper()
	c, err := kernel.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.Read(t.Context(), kernel.Scope{Devices: devices})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// links returns the names of the links of a namespace but lo.
func links(t *testing.T, ns netns.NS) []string {
	t.Helper()
	var names []string
	for name := range state(t, ns).Links {
		if name != "lo" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reserved returns the addresses that are in use on the node.
func (n node) reserved(t *testing.T) []string {
	t.Helper()
	s, err := local.NewStore(filepath.Join(n.dir, "networks"), "pods")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Addr.String())
	}
	return got
}

// wantNothing fails unless the node and the pods are as they were before any
// ADD, but for an empty bridge.
func (n node) wantNothing(t *testing.T, pods ...netns.NS) {
	t.Helper()
	if got := links(t, n.NS); len(got) > 0 && !slices.Equal(got, []string{"cni0"}) {
		t.Errorf("links of the node = %v; want no more than cni0", got)
	}
	if got := n.reserved(t); len(got) > 0 {
		t.Errorf("reserved addresses = %v; want none", got)
	}
	for _, p := range pods {
		if got := links(t, p); len(got) > 0 {
			t.Errorf("links of a pod = %v; want none", got)
		}
	}
}

// wantError fails unless err is a CNI error with that code and those texts.
func wantError(t *testing.T, what string, err error, code uint, texts ...string) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: error = %v; want one of code %d", what, err, code)
		return
	}
	for _, text := range texts {
		if !strings.Contains(e.Msg+e.Details, text) {
			t.Errorf("%s: error = %q; want one with %q", what, e, text)
		}
	}
}

func addresses(r *types100.Result) []netip.Addr {
	var a []netip.Addr
	for _, i := range r.IPs {
		a = append(a, addrOf(i.Address.IP))
	}
	return a
}
