// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// configure writes the network configuration of a lab. It may be wrong for the
// nodes, so it waits for nothing.
func configure(t *testing.T, l *lab.Lab, conf string) {
	t.Helper()
	client, err := l.Etcd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(t.Context(), l.Spec().EtcdPrefix(0)+"/config", conf); err != nil {
		t.Fatal(err)
	}
}

// works waits until every agent runs that backend and has its peer, and what is
// to be gone from the first node is gone.
func works(t *testing.T, l *lab.Lab, backend string, gone *regexp.Regexp) {
	t.Helper()
	err := eventually(t, limit, func() error {
		for _, n := range l.Nodes() {
			s, err := n.Agent(0).Status(t.Context())
			if err != nil {
				return err
			}
			if !s.Ready || s.Backend != backend || s.Peers.Programmed != 1 {
				return fmt.Errorf("%s: ready %t, backend %q, %d peers programmed, problems %v; want ready with %s and 1",
					n.Name(), s.Ready, s.Backend, s.Peers.Programmed, s.Problems, backend)
			}
		}
		return lacks(stateOf(t, l.Node(1)), gone)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lacks reports as an error what of a state is to be gone.
func lacks(s state, gone *regexp.Regexp) error {
	left := slices.DeleteFunc(slices.Clone(s), func(line string) bool { return !gone.MatchString(line) })
	if len(left) > 0 {
		return fmt.Errorf("is left:\n%s", strings.Join(left, "\n"))
	}
	return nil
}

// Configurations of the first, dual-stack, lab, by what differs from it.
const (
	asBefore  = `{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/48","Backend":{"Type":"vxlan","VNI":1}}`
	otherVNI  = `{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/48","Backend":{"Type":"vxlan","VNI":7,"Port":4789}}`
	hostGW    = `{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/48","Backend":{"Type":"host-gw"}}`
	direct    = `{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/48","Backend":{"Type":"vxlan","VNI":1,"DirectRouting":true}}`
	iptables  = `{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/48","Backend":{"Type":"vxlan","VNI":1},"Firewall":"iptables"}`
	noIPv6    = `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":1}}`
	elsewhere = `{"Network":"10.99.0.0/16","Backend":{"Type":"host-gw"}}`
)

// TestEarlierConfigurationLeavesNothing changes a cluster's configuration to
// another and back, and wants nothing of the other to be left, and the node to
// be as it was, where pods keep their subnets.
func TestEarlierConfigurationLeavesNothing(t *testing.T) {
	t.Parallel()
	v := newVictim(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual, Args: []string{"--ip-blackhole-route=true"}})
	before := v.settled(t)
	for _, step := range []struct {
		name, conf, backend string
		gone                string // of what was before
		goneAfter           string // of the change, once it is taken back
	}{
		{"VNI and port", otherVNI, "vxlan", `flannel(-v6)?\.1\b`, `flannel(-v6)?\.7\b`},
		{"host-gw", hostGW, "host-gw", `flannel`, `via (192\.168\.77|fd77:).* proto 112`},
		{"direct routes", direct, "vxlan", `dev flannel\S+ .*proto 112`, `via (192\.168\.77|fd77:).* proto 112`},
		{"iptables", iptables, "vxlan", `^nft.* table percale `, `PERCALE-`},
	} {
		configure(t, v.lab, step.conf)
		works(t, v.lab, step.backend, regexp.MustCompile(step.gone))
		prove(t, v.lab)
		configure(t, v.lab, asBefore)
		works(t, v.lab, "vxlan", regexp.MustCompile(step.goneAfter))
		if err := eventually(t, limit, func() error { return v.stands(t, fault{}, before) }); err != nil {
			t.Errorf("%s, there and back: %v", step.name, err)
		}
	}
	// Pods of a family or network that went need to be made anew.
	configure(t, v.lab, noIPv6)
	works(t, v.lab, "vxlan", regexp.MustCompile(`flannel-v6|fd00:10:244.* proto 112`))
	configure(t, v.lab, hostGW)
	works(t, v.lab, "host-gw", regexp.MustCompile(`flannel`))
	configure(t, v.lab, elsewhere)
	works(t, v.lab, "host-gw", regexp.MustCompile(`(10\.244|fd00:10:244).* proto 112`))
}

// TestCrashAmidChangeOrphansNothing kills agents while they take over another
// configuration, and between two, and wants the next ones to know what the
// former left.
func TestCrashAmidChangeOrphansNothing(t *testing.T) {
	t.Parallel()
	l := labtest.Up(t, lab.Spec{Nodes: 2, Pods: 1})
	n := l.Node(1)
	record := filepath.Join(n.Agent(0).RunDir(), "owned.json")
	former := "flannel.1"
	for vni := 2; vni <= 5; vni++ {
		conf := fmt.Sprintf(`{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":%d}}`, vni)
		device := fmt.Sprintf("flannel.%d", vni)
		if vni%2 == 0 { // the agent is at work
			configure(t, l, conf)
			if err := eventually(t, limit, func() error { return notes(record, device) }); err != nil {
				t.Fatal(err)
			}
			kill(t, n)
		} else {
			kill(t, n)
			configure(t, l, conf)
		}
		if err := n.Agent(0).Start(); err != nil {
			t.Fatal(err)
		}
		works(t, l, "vxlan", regexp.MustCompile(regexp.QuoteMeta(former)+`\b`))
		err := eventually(t, limit, func() error {
			if notes(record, former) == nil {
				return fmt.Errorf("%s still has %s", record, former)
			}
			return notes(record, device)
		})
		if err != nil {
			t.Error(err)
		}
		former = device
	}
}

func kill(t *testing.T, n *lab.Node) {
	t.Helper()
	if err := n.Agent(0).Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// notes reports as an error that a record of what is ours has not that device.
func notes(record, device string) error {
	b, err := os.ReadFile(record)
	var r struct{ Devices []struct{ Name string } }
	if err := errors.Join(err, json.Unmarshal(b, &r)); err != nil {
		return err
	}
	for _, d := range r.Devices {
		if d.Name == device {
			return nil
		}
	}
	return fmt.Errorf("%s has %v; want %s", record, r.Devices, device)
}

// TestNameTakenByForeignDevice deletes the overlay device and gives its name to
// a device of another kind, which is to stay. The agent makes its own under
// another name, and keeps that when the stranger goes.
func TestNameTakenByForeignDevice(t *testing.T) {
	t.Parallel()
	l := labtest.Up(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual})
	n := l.Node(1)
	kill(t, n) // who is quick makes the device again under its name
	batch(t, n.NS(), "", "link del flannel.1", "link add flannel.1 type bridge",
		"link del flannel-v6.1", "link add flannel-v6.1 type vxlan id 99 dstport 9999 local 192.168.77.11")
	if err := n.Agent(0).Start(); err != nil {
		t.Fatal(err)
	}
	holds := func(notes int) error {
		s, err := n.Agent(0).Status(t.Context())
		if err != nil {
			return err
		}
		var names []string
		for _, d := range s.Devices {
			names = append(names, d.Name)
		}
		taken := slices.DeleteFunc(s.Notes, func(n string) bool { return !strings.Contains(n, "not ours; the overlay device is percale") })
		if !s.Ready || s.Peers.Programmed != 1 || !slices.Equal(names, []string{"percale.1", "percale6.1"}) || len(taken) != notes {
			return fmt.Errorf("ready %t, peers %v, devices %q, notes %q, problems %v; want percale.1 and percale6.1, and %d notes",
				s.Ready, s.Peers, names, s.Notes, s.Problems, notes)
		}
		return nil
	}
	if err := eventually(t, limit, func() error { return holds(2) }); err != nil {
		t.Fatal(err)
	}
	prove(t, l)
	out := run(t, n.NS(), "ip -d link show flannel.1") + run(t, n.NS(), "ip -d link show flannel-v6.1")
	if !strings.Contains(out, "bridge forward_delay") || !strings.Contains(out, "vxlan id 99") {
		t.Errorf("the devices of others are\n%s\nwant them to stay", out)
	}
	batch(t, n.NS(), "", "link del flannel.1", "link del flannel-v6.1")
	if err := eventually(t, limit, func() error { return holds(0) }); err != nil {
		t.Fatal(err)
	}
	prove(t, l)
}
