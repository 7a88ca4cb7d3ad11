// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/percale-net/percale/internal/lab"
)

// Pings run between the victim's pod and one of another node: the first over
// IPv4 and away from the victim, the second, if any, over IPv6 and towards it.
type pings []*lab.Pinger

// ping starts them, and returns when each has got answers.
func (v *victim) ping(t *testing.T) pings {
	t.Helper()
	var ps pings
	pods := v.lab.Pods()
	for i := range v.gateways {
		from, to := pods[i], pods[1-i]
		to.Addrs = to.Addrs[i:] // the first is pinged
		p, err := lab.Ping(from, to, every)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	t.Cleanup(func() { ps.stop() }) // once more does no harm
	none := make([]uint64, len(ps))
	if err := eventually(t, limit, func() error { return ps.flow(none, after) }); err != nil {
		t.Fatal(err)
	}
	return ps
}

// answered returns how many answers each has got.
func (ps pings) answered() []uint64 {
	var counts []uint64
	for _, p := range ps {
		_, n := p.Counts()
		counts = append(counts, n)
	}
	return counts
}

// flow reports as an error that one has got fewer than more answers since.
func (ps pings) flow(since []uint64, more uint64) error {
	for i, n := range ps.answered() {
		if n < since[i]+more {
			return fmt.Errorf("ping %d: %d answers; want %d", i, n-since[i], more)
		}
	}
	return nil
}

// stop ends them and returns how many packets each lost.
func (ps pings) stop() ([]int, error) {
	lost := make([]int, len(ps))
	var g errgroup.Group
	for i, p := range ps {
		g.Go(func() error {
			_, n, err := p.Stop()
			lost[i] = int(n)
			return err
		})
	}
	return lost, g.Wait()
}
