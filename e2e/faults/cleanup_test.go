// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// TestCleanupRemovesOursAndNothingElse dumps a node full of what others made
// before an agent first starts there, and after it has worked, ended and been
// cleaned up after. Once the settings that the cleanup names are taken back,
// the two are the same.
func TestCleanupRemovesOursAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, m := range []struct {
		name, backend, firewall string
		spec                    lab.Spec
		lost                    string   // a file of the run directory that is lost before the cleanup
		gone                    []string // what the cleanup says of it
	}{
		{"nftables", "vxlan", "nftables", lab.Spec{}, "",
			[]string{"routes with protocol 112: 1", "device flannel.1 (VNI 1, port 8472)", "nftables table inet percale"}},
		{"nftables, dual, direct routes", "vxlan", "nftables",
			lab.Spec{Families: lab.Dual, Conf: json.RawMessage(`{"Backend":{"DirectRouting":true}}`)}, "owned.json",
			[]string{"routes with protocol 112: 2", "device flannel.1", "device flannel-v6.1", "nftables table inet percale"}},
		{"iptables, dual", "vxlan", "iptables", lab.Spec{Families: lab.Dual}, "",
			[]string{"routes with protocol 112: 2", "device flannel.1", "device flannel-v6.1", "iptables chains PERCALE-* and the jumps"}},
		{"host-gw, dual, blackholes", "host-gw", "nftables",
			lab.Spec{Families: lab.Dual, Args: []string{"--ip-blackhole-route=true"}}, "",
			[]string{"routes with protocol 112: 4", "nftables table inet percale"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			m.spec.Nodes, m.spec.Backend = 2, m.backend
			right := labConf(t, m.spec, m.firewall)
			m.spec.Conf, m.spec.NoWait = json.RawMessage(`{"Typo":true}`), true // agents wait, and touch nothing
			l := labtest.Up(t, m.spec)
			n := l.Node(1)
			kill(t, n)
			if err := errors.Join(os.RemoveAll(n.Agent(0).Dir()), os.MkdirAll(n.Agent(0).Dir(), 0o755)); err != nil {
				t.Fatal(err)
			}
			furnish(t, n)
			before := still(t, n)
			configure(t, l, right)
			if err := n.Agent(0).Start(); err != nil {
				t.Fatal(err)
			}
			works(t, l, m.backend, regexp.MustCompile(`there is no such thing`))
			pod, err := n.AddPod(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Node(2).AddPod(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			prove(t, l)
			if diff(before, stateOf(t, n)) == "" {
				t.Fatal("an agent and a pod changed nothing on the node")
			}
			cleanup(t, n, 1, "percaled runs with --run-dir", "systemctl stop percaled")
			if err := n.Agent(0).Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if m.lost != "" {
				if err := os.Remove(filepath.Join(n.Agent(0).RunDir(), m.lost)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range m.gone {
				m.gone[i] = "removed " + m.gone[i]
			}
			cleanup(t, n, 1, append(m.gone, "left bridge cni0: pods are plugged in (1, first veth")...)
			if err := n.RemovePod(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
			out := cleanup(t, n, 0, "removed bridge cni0", "removed "+n.Agent(0).SubnetFile(), "etcdctl del '/coreos.com/network/subnets/10.244.")
			takeBack(t, n, out)
			if err := eventually(t, limit, func() error { return same(before, stateOf(t, n)) }); err != nil {
				t.Errorf("%v\ncleanup said:\n%s", err, out)
			}
			left, err := filepath.Glob(n.Agent(0).RunDir() + "*")
			state, err2 := filepath.Glob(filepath.Join(n.Agent(0).Dir(), "state*"))
			if err := errors.Join(err, err2); err != nil || len(left)+len(state) > 0 {
				t.Errorf("files are left: %q %q, %v", left, state, err)
			}
			cleanup(t, n, 0, "nothing of percaled is here")
		})
	}
}

// TestCleanupLeavesFlannelAlone runs a cleanup where flannel works and percaled
// never did, and where flannel took over what percaled had left.
func TestCleanupLeavesFlannelAlone(t *testing.T) {
	t.Parallel()
	l := labtest.Up(t, lab.Spec{Nodes: 1, Pods: 0, NoWait: true, Conf: json.RawMessage(`{"Typo":true}`)})
	n := l.Node(1)
	a := n.Agent(0)
	kill(t, n)
	if err := os.RemoveAll(a.Dir()); err != nil {
		t.Fatal(err)
	}
	batch(t, n.NS(), "",
		"link add flannel.1 type vxlan id 1 dstport 8472 local 192.168.77.11", "link set flannel.1 up", "address add 10.244.9.0/32 dev flannel.1",
		"route add 10.244.8.0/24 via 10.244.8.0 dev flannel.1 onlink")
	env := "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.9.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	if err := errors.Join(os.MkdirAll(a.Dir(), 0o755), os.WriteFile(a.SubnetFile(), []byte(env), 0o644)); err != nil {
		t.Fatal(err)
	}
	before := still(t, n)
	cleanup(t, n, 0, "left "+a.SubnetFile()+": nothing here shows that percaled wrote it")
	record := `{"version":1,"devices":[{"name":"flannel.1","vni":1,"port":8472,"ipv6":false}],"networks":["10.244.0.0/16"]}`
	if err := errors.Join(os.MkdirAll(a.RunDir(), 0o755), os.WriteFile(filepath.Join(a.RunDir(), "owned.json"), []byte(record), 0o644)); err != nil {
		t.Fatal(err)
	}
	cleanup(t, n, 1, "left device flannel.1: route 10.244.8.0/24 goes over it and is not ours")
	if err := same(before, stateOf(t, n)); err != nil {
		t.Error(err)
	}
}

// TestAgentsOfOneHostLeaveEachOtherAlone changes the configuration of one pod
// network and cleans up after its agent. The agent of the other network finds
// nothing to repair.
func TestAgentsOfOneHostLeaveEachOtherAlone(t *testing.T) {
	t.Parallel()
	l := labtest.Up(t, lab.Spec{Nodes: 2, Pods: 1, Networks: 2})
	n := l.Node(1)
	first, err := n.Agent(1).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	configure(t, l, `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":7}}`)
	works(t, l, "vxlan", regexp.MustCompile(`flannel\.1\b`))
	prove(t, l)
	if err := n.Agent(0).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range n.Pods() {
		if p.Network == 0 {
			if err := n.RemovePod(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	cleanup(t, n, 0, "removed device flannel.7", "removed bridge cni0", "removed nftables table inet percale and")
	prove(t, l)
	now, err := n.Agent(1).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now.PID != first.PID || !now.Ready || now.Kernel.LastRepair.What != "" || now.Firewall.LastRepair.What != "" || now.Kernel.Writes != first.Kernel.Writes {
		t.Errorf("the other agent, %d: ready %t, repairs %q and %q, %d kernel writes; want ready, no repairs and %d writes",
			now.PID, now.Ready, now.Kernel.LastRepair.What, now.Firewall.LastRepair.What, now.Kernel.Writes, first.Kernel.Writes)
	}
	if err := lacks(stateOf(t, n), regexp.MustCompile(`\b(flannel\.7|10\.244\.)`)); err != nil {
		t.Error(err)
	}
}

// labConf returns the network configuration that a lab of that kind would have.
func labConf(t *testing.T, s lab.Spec, firewall string) string {
	t.Helper()
	if s.Families == "" {
		s.Families = lab.IPv4
	}
	b, err := s.NetConf(0)
	var conf map[string]any
	if err := errors.Join(err, json.Unmarshal(b, &conf)); err != nil {
		t.Fatal(err)
	}
	conf["Firewall"] = firewall
	b, err = json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func same(before, now state) error {
	if d := diff(before, now); d != "" {
		return fmt.Errorf("node is not as it was:\n%s", d)
	}
	return nil
}

// cleanup runs percaled --cleanup with the flags of the node's agent, and wants
// that exit code, and each of the texts in what it prints.
func cleanup(t *testing.T, n *lab.Node, code int, want ...string) string {
	t.Helper()
	args := append(n.Agent(0).Args(), "--cleanup")
	var out []byte
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	err := n.NS().Do(func() error {
		out, _ = cmd.CombinedOutput() // a problem found is an answer, too
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("percaled --cleanup: exit code %d; want %d:\n%s", got, code, out)
	}
	for _, text := range want {
		if !strings.Contains(string(out), text) {
			t.Errorf("percaled --cleanup printed\n%swant %q in it", out, text)
		}
	}
	return string(out)
}

// remedy is a setting that a cleanup says how to take back.
var remedy = regexp.MustCompile(`(?m)sysctl -w (\S+)=(\d)$`)

// takeBack does what a cleanup says of settings.
func takeBack(t *testing.T, n *lab.Node, out string) {
	t.Helper()
	told := remedy.FindAllStringSubmatch(out, -1)
	if len(told) == 0 {
		t.Errorf("cleanup names no setting that stays:\n%s", out)
	}
	err := n.NS().Do(func() error {
		var errs []error
		for _, m := range told {
			errs = append(errs, os.WriteFile("/proc/sys/"+m[1], []byte(m[2]), 0o644))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
}
