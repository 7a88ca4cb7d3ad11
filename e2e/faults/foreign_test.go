// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// TestFlannelsDirectRoutesAreAdopted starts an agent where flannel left its
// routes, which have no mark and win over any other. Those that say what ours
// say go once ours stand; one that says something else is named, and stays.
func TestFlannelsDirectRoutesAreAdopted(t *testing.T) {
	t.Parallel()
	l := labtest.Up(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual, Backend: "host-gw"})
	n := l.Node(1)
	s, err := l.Node(2).Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kill(t, n)
	v4, v6 := s.Subnets[0].String(), s.Subnets[1].String()
	add4, add6 := "route add "+v4+" via 192.168.77.12 dev eth0", "-6 route add "+v6+" via fd77::c dev eth0"
	batch(t, n.NS(), "", add4, "route add 10.244.250.0/24 via 192.168.77.12 dev eth0")
	run(t, n.NS(), "ip "+add6)
	ping, err := lab.Ping(l.Pods()[0], l.Pods()[1], every)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Agent(0).Start(); err != nil {
		t.Fatal(err)
	}
	left := func(want string) error {
		out := run(t, n.NS(), "ip route show proto boot") + run(t, n.NS(), "ip -6 route show proto boot")
		s, err := n.Agent(0).Status(t.Context())
		if err != nil {
			return err
		}
		if got := strings.Join(strings.Fields(out), " "); got != want || !s.Ready || s.Peers.Programmed != 1 {
			return fmt.Errorf("routes of others %q, ready %t, peers %v; want %q, ready with 1", got, s.Ready, s.Peers, want)
		}
		return nil
	}
	const other = "10.244.250.0/24 via 192.168.77.12 dev eth0"
	if err := eventually(t, limit, func() error { return left(other) }); err != nil {
		t.Error(err)
	}
	if _, lost, err := ping.Stop(); err != nil || lost > 0 {
		t.Errorf("%d packets lost to the adoption, %v; want none", lost, err)
	}
	run(t, n.NS(), "ip route add "+v4+" via 192.168.77.1 dev eth0")
	note := fmt.Sprintf("ip route del %s via 192.168.77.1 dev eth0 proto 3 metric 0", v4)
	named := func(want bool) error {
		s, err := n.Agent(0).Status(t.Context())
		if err == nil && strings.Contains(strings.Join(s.Notes, "\n"), note) != want {
			err = fmt.Errorf("notes %q; want the remedy %q in them: %t", s.Notes, note, want)
		}
		return err
	}
	if err := eventually(t, limit, func() error { return named(true) }); err != nil {
		t.Error(err)
	}
	run(t, n.NS(), note)
	if err := eventually(t, limit, func() error { return named(false) }); err != nil {
		t.Error(err)
	}
	prove(t, l)
}
