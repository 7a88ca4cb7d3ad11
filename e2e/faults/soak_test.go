// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/percale-net/percale/internal/lab"
)

const (
	shortSoak = 20 * time.Second
	soakEvery = time.Second
	looks     = 20 // at each process, over the whole time

	growth = 1.3 // of memory, from the second quarter of the time to the last
	spare  = 5   // goroutines that come and go
)

// TestSoak deals blows to three nodes, each second, while leases churn:
// for $PERCALE_SOAK, or a short while. Afterwards nothing is stale, every pod
// reaches every other, and the agents that lived all the time have grown
// neither in memory nor in goroutines.
func TestSoak(t *testing.T) {
	t.Parallel()
	long := shortSoak
	if s := os.Getenv("PERCALE_SOAK"); s != "" {
		var err error
		long, err = time.ParseDuration(s)
		must(t, err)
	}
	r := newRing(t, seed(t))
	c, err := newChurn(t.Context(), r, rand.New(rand.NewPCG(r.rand.Uint64(), 0)))
	must(t, err)
	w := &watchman{ring: r, every: long / looks}
	w.look(t)
	soak(t, long, r, c, w)
	began := time.Now()
	must(t, eventually(t, recovery, func() error { return r.whole(t) }))
	t.Logf("%v and %d changes of leases; all nodes were whole %v after the last blow:\n%s",
		long, c.done.Load(), time.Since(began).Round(time.Millisecond), r)
	prove(t, r.lab)
	must(t, c.end(t.Context()))
	must(t, eventually(t, recovery, func() error { return errors.Join(r.whole(t), r.asBefore(t)) }))
	w.judge(t)
}

// soak deals the blows while leases churn, and looks at the processes.
func soak(t *testing.T, long time.Duration, r *ring, c *churn, w *watchman) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { return c.run(ctx) })
	tick := time.NewTicker(soakEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			r.strike(t, func(b blow, n *lab.Node) bool { return !b.restarts || n.Name() == mortal })
			if time.Since(w.last) >= w.every {
				w.look(t)
			}
		}
	}
	r.busy.Wait()
	must(t, g.Wait())
}

// mortal is the node whose agent may be restarted; the others live throughout.
const mortal = "n3"

// A watchman looks at the agents' processes.
type watchman struct {
	ring  *ring
	every time.Duration
	last  time.Time
	seen  map[string][]sample // by node
}

// A sample is what a process takes at one moment.
type sample struct{ pid, rssKiB, goroutines int }

func (w *watchman) look(t *testing.T) {
	t.Helper()
	w.last = time.Now()
	if w.seen == nil {
		w.seen = make(map[string][]sample)
	}
	for _, n := range w.ring.lab.Nodes() {
		if n.Name() == mortal {
			continue
		}
		a := n.Agent(0)
		s, err := a.Status(t.Context())
		if err != nil {
			continue // it is held up just now
		}
		w.seen[n.Name()] = append(w.seen[n.Name()], sample{a.PID(), rssKiB(t, a.PID()), s.Goroutines})
	}
}

// rssKiB reads the resident memory of a process.
func rssKiB(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kib int
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Fatalf("memory of process %d: %v", pid, err)
	}
	return kib
}

// judge fails the test if a process is another one, or has grown.
func (w *watchman) judge(t *testing.T) {
	t.Helper()
	for node, all := range w.seen {
		first := all[0]
		var memory, goroutines []int
		for _, s := range all {
			memory, goroutines = append(memory, s.rssKiB), append(goroutines, s.goroutines)
			if s.pid != first.pid {
				t.Errorf("%s: agent is process %d and was %d", node, s.pid, first.pid)
			}
		}
		q := len(memory) / 4
		ratio := mean(memory[3*q:]) / mean(memory[q:2*q])
		t.Logf("%s: memory %.2f of what it was; KiB %v; goroutines %v", node, ratio, memory, goroutines)
		if q == 0 || ratio > growth {
			t.Errorf("%s: memory has grown by the factor %.2f from the second quarter to the last; want %.1f at most", node, ratio, growth)
		}
		err := eventually(t, patient, func() error {
			n := w.ring.lab.Node(int(node[1] - '0'))
			s, err := n.Agent(0).Status(t.Context())
			if err == nil && (s.Goroutines > first.goroutines+spare || s.Goroutines == 0) {
				err = fmt.Errorf("%s: %d goroutines; before it had %d", node, s.Goroutines, first.goroutines)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if len(w.seen) != 2 {
		t.Errorf("looked at %d agents; want 2", len(w.seen))
	}
}

func mean(all []int) float64 {
	sum := 0
	for _, n := range all {
		sum += n
	}
	return float64(sum) / float64(len(all))
}
