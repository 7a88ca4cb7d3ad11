// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"testing"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/internal/netns/capstest"
	"github.com/percale-net/percale/network"
)

func TestWithCapsOfService(t *testing.T) {
	t.Parallel()
	var ns netns.NS
	if !capstest.Again() {
		ns = newNode(t).ns
	}
	capstest.Run(t, ns, withCapsOfService)
}

func withCapsOfService(t *testing.T) {
	c, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}, 1000), make(chan error, 1)
	go func() {
		done <- c.Watch(ctx, func() {
			select {
			case started <- struct{}{}:
			default:
			}
		})
	}()
	const setting = "net/ipv4/conf/up0/rp_filter"
	s := scope
	s.Sysctls = []string{setting}
	want := overlay(3)
	want.Sysctls[setting] = network.Sysctl{Path: setting, Value: "2"}
	n := node{Conn: c}
	n.reach(t, s, want)
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("Watch: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watch: %v", err)
	}
	if err := c.Apply(t.Context(), network.Compare(n.read(t, scope), network.NewState())); err != nil {
		t.Errorf("Apply of nothing: %v", err)
	}
	if left := n.read(t, scope); len(left.Routes)+len(left.Neighbors)+len(left.Forwards) != 0 {
		t.Errorf("left after it: %+v; want nothing of ours", left)
	}
}
