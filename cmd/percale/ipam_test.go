// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// A node is a namespace with directories of its own.
type node struct {
	netns.NS
	dir   string
	store local.Store
}

func newNode(t *testing.T) node {
	t.Helper()
	n := node{NS: netns.Temp(t), dir: t.TempDir()}
	var err error
	if n.store, err = local.NewStore(filepath.Join(n.dir, "networks"), "cbr0"); err != nil {
		t.Fatal(err)
	}
	n.write(t, "subnet.env", "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.7.1/24\n"+
		"FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:7::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n")
	return n
}

func (n node) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(n.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// note leaves what percale-cni does.
func (n node) note(t *testing.T) {
	t.Helper()
	err := n.Do(func() error {
		here, err := local.Here()
		return errors.Join(err, local.Network{Store: n.store, SubnetFile: filepath.Join(n.dir, "subnet.env")}.Note(filepath.Join(n.dir, "run"), here))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// add gives a container addresses as percale-cni does, so long ago, and a port
// if it is live.
func (n node) add(t *testing.T, container, name string, ago time.Duration, live bool) {
	t.Helper()
	var ranges []ipam.Range
	for _, s := range []string{"10.42.7.0/24", "fd00:0:0:7::/64"} {
		r, err := ipam.NewRange(netip.MustParsePrefix(s))
		if err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, r)
	}
	own := local.Owner{Container: container, Ifname: "eth0"}
	addrs, err := n.store.Reserve(t.Context(), own, ranges)
	if err != nil {
		t.Fatal(err)
	}
	n.store.NotePod(addrs, "ci", name)
	for _, a := range addrs {
		n.age(t, a.String(), ago)
	}
	if live {
		port, _ := pod.HostEnd(container, "eth0")
		if out, err := n.Output("ip", "link", "add", port, "type", "veth", "peer", "name", "far"+port[6:]); err != nil {
			t.Fatal(err, out)
		}
	}
}

func (n node) age(t *testing.T, name string, ago time.Duration) {
	t.Helper()
	at := time.Now().Add(-ago)
	if err := os.Chtimes(filepath.Join(n.store.Dir(), name), at, at); err != nil {
		t.Fatal(err)
	}
}

// run runs percale on the node, and returns what it printed, without what
// changes from run to run.
func (n node) run(t *testing.T, args string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := n.Do(func() error {
		cmd := command()
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append(strings.Fields(args), "--run-dir", filepath.Join(n.dir, "run")))
		return cmd.ExecuteContext(t.Context())
	})
	text := strings.ReplaceAll(out.String(), n.dir, "/dir")
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), n.dir, "/dir"))
	}
	text = regexp.MustCompile(`"given": "[^"]*"`).ReplaceAllString(text, `"given": "then"`)
	return regexp.MustCompile(`\b[3-5]\ds\b`).ReplaceAllString(text, "3.s"), err
}

func (n node) want(t *testing.T, args, name string, code error) {
	t.Helper()
	text, err := n.run(t, args)
	if (err == nil) != (code == nil) || err != nil && err.Error() != code.Error() {
		t.Errorf("percale %s: %v; want %v\n%s", args, err, code, text)
	}
	golden(t, name, text)
	for _, line := range strings.Split(text, "\n") {
		if len(line) > columns {
			t.Errorf("percale %s: line of %d columns: %s", args, len(line), line)
		}
	}
}

func TestIpamTellsAndFrees(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.add(t, "0123456789abcdef0123", "build-7-with-a-name-that-is-as-long-as-kubernetes-lets-it-be", 3*time.Hour, true)
	n.add(t, "fedcba9876543210fedc", "build-8", 2*time.Hour, false)
	n.add(t, "5555555555", "build-9", 30*time.Second, false)
	n.write(t, "networks/cbr0/10.42.7.200", "other\r\nnet1")
	n.age(t, "10.42.7.200", 50*time.Hour)
	n.write(t, "networks/cbr0/10.42.7.201", "")
	n.write(t, "networks/blue/10.42.7.200", "twice\r\neth0")
	n.write(t, "networks/blue/10.42.9.9", "twice\r\neth0")
	n.write(t, "networks/blue/bad\x1bname", "")
	for _, name := range []string{"10.42.7.200", "10.42.9.9"} {
		n.age(t, "../blue/"+name, 50*time.Hour)
	}

	dir := " --data-dir " + filepath.Join(n.dir, "networks") + " --subnet-file " + filepath.Join(n.dir, "subnet.env")
	if _, err := n.run(t, "ipam gc"+dir); err == nil || !strings.Contains(err.Error(), "nothing says that the ports of these pods are in this network namespace") {
		t.Errorf("gc without a note: %v; want a refusal", err)
	}
	n.note(t)
	n.want(t, "ipam show"+dir, "ipam-show", nil)
	n.want(t, "ipam show -o json", "ipam-show-json", nil) // where it is by the note
	n.want(t, "ipam check"+dir, "ipam-check", errProblem)
	n.want(t, "ipam gc --dry-run", "ipam-gc-dry", nil)
	n.want(t, "ipam gc", "ipam-gc", nil)
	n.want(t, "ipam gc", "ipam-gc-again", nil)
	n.want(t, "ipam check -o json", "ipam-check-json", errProblem)
}

func TestIpamReleaseGuards(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.note(t)
	n.add(t, "live", "a", 3*time.Hour, true)
	n.add(t, "young", "b", 0, false)
	n.add(t, "gone", "c", time.Hour, false)
	n.write(t, "networks/cbr0/10.42.7.200", "other\r\nnet1")
	n.write(t, "networks/cbr0/10.42.7.201", "")
	n.write(t, "networks/cbr0/10.42.7.202", "other2\r\nnet1")
	for _, c := range []struct{ args, err, out string }{
		{"10.42.7.2", "release 10.42.7.2: container live, eth0 (ci/a) is there: veth", ""},
		{"10.42.7.3", "which may be about to use it. Delete its pod (crictl rmp), or --force", ""},
		{"10.42.7.200", "container other, net1 may be there: percale-cni did not give the address", ""},
		{"10.42.7.201", "its file does not say whose it is (empty: it does not say whose the address is)", ""},
		{"10.42.7.9", "no pod of this node has it", ""},
		{"10.42.7", "want an address such as 10.42.7.9", ""},
		{"10.42.7.4", "", "freed 10.42.7.4  container gone, eth0, ci/c, given 1h00m ago\nfreed fd00:0:0:7::4  container gone, eth0, ci/c, given 1h00m ago\nfreed 2 addresses\n"},
		{"10.42.7.4", "no pod of this node has it", ""},
		{"--force fd00:0:0:7::2", "", "freed 2 addresses\n"},
		{"--force 10.42.7.200", "", "freed 1 address\n"},
		{"--force 10.42.7.201", "", "freed 1 address\n"},
	} {
		out, err := n.run(t, "ipam release "+c.args)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !strings.Contains(out, c.out) {
			t.Errorf("release %s: %v, %q; want %q, %q", c.args, err, out, c.err, c.out)
		}
	}
	v, err := n.store.Survey()
	if err != nil || len(v.Holdings) != 2 || len(v.Odd) != 0 {
		t.Errorf("left: %+v, %v; want young and other2 alone", v, err)
	}
}

func TestIpamShowsTheOldest(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.note(t)
	for i := range 12 {
		n.add(t, "c"+string(rune('a'+i)), "x", time.Duration(i)*time.Hour, false)
	}
	n.want(t, "ipam show", "ipam-show-oldest", nil)
	out, err := n.run(t, "ipam show --all")
	if err != nil || strings.Count(out, "ci/x") != 24 {
		t.Errorf("show --all: %v, %d entries; want 24", err, strings.Count(out, "ci/x"))
	}
	for args, want := range map[string]string{
		"ipam show --network none":   `no addresses are kept of a network "none"`,
		"ipam show -o yaml":          "want text or json",
		"ipam check --data-dir /a/b": "no such file or directory",
	} {
		if _, err := n.run(t, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", args, err, want)
		}
	}
}

func TestIpamOfANodeWithoutPods(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.note(t)
	n.want(t, "ipam show", "ipam-show-empty", nil)
	for _, args := range []string{"ipam check", "ipam gc"} {
		if out, err := n.run(t, args); err != nil || !strings.Contains(out, "0 addresses") {
			t.Errorf("%s: %v, %q; want nothing done", args, err, out)
		}
	}
	var v shown
	out, err := n.run(t, "ipam show -o json")
	if err := errors.Join(err, json.Unmarshal([]byte(out), &v)); err != nil || v.Entries == nil || v.Odd == nil {
		t.Errorf("show -o json: %v\n%s\nwant empty lists, not null", err, out)
	}
}
