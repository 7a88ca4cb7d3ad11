// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
)

const pingEvery = 10 * time.Millisecond

// A mover is the node whose uplink changes, with pings between its pod and that
// of a peer: the first over IPv4 and towards it, the second over IPv6 and away.
type mover struct {
	lab        *lab.Lab
	node, peer *lab.Node
	pings      []*lab.Pinger
}

func newMover(t *testing.T, l *lab.Lab) *mover {
	t.Helper()
	m := &mover{lab: l, node: l.Node(2), peer: l.Node(1)}
	pods := l.Pods()
	for i := range 2 {
		from, to := pods[i], pods[1-i]
		to.Addrs = to.Addrs[i:] // the first is pinged
		p, err := lab.Ping(from, to, pingEvery)
		if err != nil {
			t.Fatal(err)
		}
		m.pings = append(m.pings, p)
		t.Cleanup(func() { p.Stop() })
	}
	output(t, l.Switch(), "ip address add 192.168.80.1/24 dev sw1")
	m.answers(t, 20)
	return m
}

// answers waits until each ping has got so many more.
func (m *mover) answers(t *testing.T, more uint64) {
	t.Helper()
	var from []uint64
	for _, p := range m.pings {
		_, answered := p.Counts()
		from = append(from, answered)
	}
	eventually(t, func() error {
		for i, p := range m.pings {
			if sent, answered := p.Counts(); answered < from[i]+more {
				return fmt.Errorf("ping %d: %d sent in all, %d answers since; want %d", i, sent, answered-from[i], more)
			}
		}
		return nil
	})
}

// lost returns how many packets of each ping have no answer so far.
func (m *mover) lost() (all []int) {
	for _, p := range m.pings {
		sent, answered := p.Counts()
		all = append(all, int(sent-answered))
	}
	return all
}

// follows waits until the node's agent, its devices, its subnet.env and its
// peer's kernel are as the uplink is.
func (m *mover) follows(t *testing.T, c uplinkChange) {
	t.Helper()
	await(t, m.node, func(s status.Status) error {
		var published []string
		for _, a := range s.Uplink.Published {
			published = append(published, a.String())
		}
		if !s.Ready || s.Uplink.Name != c.link || !slices.Equal(published, []string{c.v4, c.v6}) || s.PodMTU != c.podMTU || len(s.Problems) > 0 {
			return fmt.Errorf("%s: ready %t, waiting for %q, uplink %+v, pods' MTU %d, problems %v; want ready with %+v",
				c.name, s.Ready, s.Waiting, s.Uplink, s.PodMTU, s.Problems, c)
		}
		return nil
	})
	eventually(t, func() error {
		var errs []error
		for i, want := range []string{"local " + c.v4 + " dev " + c.link, "local " + c.v6 + " dev " + c.link} {
			out := output(t, m.node.NS(), "ip -d link show dev "+[]string{"flannel.1", "flannel-v6.1"}[i])
			if mtu := fmt.Sprintf("mtu %d ", c.podMTU+20*(1-i)); !strings.Contains(out, want) || !strings.Contains(out, mtu) {
				errs = append(errs, fmt.Errorf("%s: device %s\nwant %q and %q", c.name, out, want, mtu))
			}
		}
		env, err := os.ReadFile(m.node.Agent(0).SubnetFile())
		if want := fmt.Sprintf("FLANNEL_MTU=%d\n", c.podMTU); err != nil || !strings.Contains(string(env), want) {
			errs = append(errs, fmt.Errorf("%s: subnet.env:\n%s%v\nwant %q", c.name, env, err, want))
		}
		fdb := output(t, m.peer.NS(), "bridge fdb show")
		if !strings.Contains(fdb, " dst "+c.v4+" self") || !strings.Contains(fdb, " dst "+c.v6+" self") || strings.Count(fdb, " dst ") != 2 {
			errs = append(errs, fmt.Errorf("%s: FDB of the peer:\n%swant %s and %s alone", c.name, fdb, c.v4, c.v6))
		}
		return errors.Join(errs...)
	})
}

// accepted wants the peer to find nothing wrong with what the node sends it.
func (m *mover) accepted(t *testing.T, c uplinkChange) {
	t.Helper()
	s, err := m.peer.Agent(0).Status(t.Context())
	if err != nil || s.Guards.Tunnel != "on" {
		t.Errorf("%s: guards of the peer %+v, %v; want that of the tunnel on", c.name, s.Guards, err)
	}
	for _, p := range s.Problems {
		if p.Part == "tunnel" {
			t.Errorf("%s: the peer says: %s", c.name, p.Seen)
		}
	}
}
