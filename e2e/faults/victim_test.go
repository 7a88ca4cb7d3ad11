// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// A victim is the node that the faults befall.
type victim struct {
	lab      *lab.Lab
	node     *lab.Node
	overlays []string       // its overlay devices
	gateways []netip.Prefix // the addresses of its pod bridge
	firewall string         // which kind the agent uses
	wrong    error          // what a fault found while it was made
}

// alone names the backup of etcd from when the victim was the only node.
const alone = "alone"

func newVictim(t *testing.T, spec lab.Spec) *victim {
	t.Helper()
	spec.Nodes, spec.Pods = 1, 1
	l := labtest.Up(t, spec)
	must(t, l.BackupEtcd(alone))
	addPeer(t, l)
	v := &victim{lab: l, node: l.Node(1), overlays: []string{"flannel.1"}}
	if v.dual() {
		v.overlays = append(v.overlays, "flannel-v6.1")
	}
	s, err := v.node.Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.firewall = s.Firewall.Mode
	for _, subnet := range s.Subnets {
		v.gateways = append(v.gateways, netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()))
	}
	return v
}

// addPeer adds a node with one pod.
func addPeer(t *testing.T, l *lab.Lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	n, err := l.AddNode(ctx)
	must(t, err)
	for _, n := range l.Nodes() {
		must(t, n.Agent(0).WaitReady(ctx, 1))
	}
	_, err = n.AddPod(ctx, 0)
	must(t, err)
}

func (v *victim) dual() bool { return v.lab.Spec().Families == lab.Dual }

// stands reports as an error what the node lacks to be as it was before, with
// its agent content.
func (v *victim) stands(t *testing.T, f fault, before state) error {
	t.Helper()
	s, err := v.node.Agent(0).Status(t.Context())
	if err != nil {
		return err
	}
	if !s.Ready || s.Peers.Programmed != 1 {
		return fmt.Errorf("agent: ready %v, waiting for %q, peers programmed %d; want ready with 1; problems %v",
			s.Ready, s.Waiting, s.Peers.Programmed, s.Problems)
	}
	var foreign *regexp.Regexp
	if f.foreign != nil {
		foreign = f.foreign(v)
	}
	if d := diff(before.without(foreign), v.look(t, f).without(foreign)); d != "" {
		return fmt.Errorf("node is not as before the fault:\n%s", d)
	}
	if f.also != nil {
		return f.also(t, v)
	}
	return nil
}

// look dumps the node. Where overlay devices may bear other names they are
// shown by their usual ones, and whatever bears those is not shown.
func (v *victim) look(t *testing.T, f fault) state {
	t.Helper()
	s := stateOf(t, v.node)
	if !f.renamed {
		return s
	}
	for i, name := range v.overlays {
		if now := v.overlay(t, i); now != "" && now != name {
			s = s.rename(now, name)
		}
	}
	slices.Sort(s)
	return s
}

// overlay returns the name of the overlay device of a family, found by what it
// is; "" if there is none.
func (v *victim) overlay(t *testing.T, family int) string {
	t.Helper()
	local := regexp.MustCompile(` vxlan id 1 local ` + regexp.QuoteMeta(v.node.Uplink()[family].String()) + ` .*dstport 8472 `)
	for line := range strings.Lines(run(t, v.node.NS(), "ip -o -d link show type vxlan")) {
		if local.MatchString(line) {
			return strings.TrimSuffix(strings.Fields(line)[1], ":")
		}
	}
	return ""
}

// settled returns the node's state once it does not change any more by itself:
// an address is tentative until nobody objects, a link down until its other end
// is noticed.
func (v *victim) settled(t *testing.T) state {
	t.Helper()
	var s state
	err := eventually(t, limit, func() error {
		was := s
		s = stateOf(t, v.node)
		return v.stands(t, fault{}, was)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mend makes the node whole after a fault, by hand where the agent did not.
func (v *victim) mend(t *testing.T, f fault, before state, broken bool) {
	t.Helper()
	if f.undo != nil {
		f.undo(t, v)
	}
	f.also = nil // what was undone need not be there
	if broken {
		restart(t, v, v.node.Agent(0).Kill)
	}
	if err := eventually(t, patient, func() error { return v.stands(t, f, before) }); err != nil {
		t.Fatalf("%s, undone by hand: %v", f.name, err)
	}
}

func restart(t *testing.T, v *victim, end func(context.Context) error) {
	t.Helper()
	if err := errors.Join(end(t.Context()), v.node.Agent(0).Start()); err != nil {
		t.Fatal(err)
	}
}
