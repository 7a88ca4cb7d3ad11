// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

const (
	randomBlows = 100
	longestRest = 200 * time.Millisecond // between two blows
	recovery    = 30 * time.Second       // after the last blow, for all nodes
)

// seed returns $PERCALE_SEED, else one of its own, and prints it: the same seed
// deals the same blows in the same order.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(rand.Uint32())
	if s := os.Getenv("PERCALE_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	t.Logf("PERCALE_SEED=%d", n)
	return n
}

// A ring is a lab whose nodes take blows.
type ring struct {
	lab    *lab.Lab
	rand   *rand.Rand
	before map[string]state // of each node, by name

	etcd   sync.Mutex // held while etcd is away
	leases sync.Mutex // held while leases change
	busy   sync.WaitGroup
	mu     sync.Mutex // guards tally
	all    tally
}

// A tally counts the blows that were dealt, and those that met a node that was
// down already, so that not all of their commands worked.
type tally map[string]*[2]int

func newRing(t *testing.T, seed uint64) *ring {
	t.Helper()
	r := &ring{rand: rand.New(rand.NewPCG(seed, 0)), before: make(map[string]state), all: make(tally)}
	spec := lab.Spec{Nodes: 3, Pods: 2, Families: lab.Dual}
	if r.rand.IntN(2) == 1 {
		spec.Conf = json.RawMessage(`{"Firewall":"iptables"}`)
	}
	r.lab = labtest.Up(t, spec)
	must(t, eventually(t, limit, func() error {
		var errs []error
		for _, n := range r.lab.Nodes() {
			now := stateOf(t, n)
			if d := diff(r.before[n.Name()], now); d != "" {
				errs = append(errs, errors.New(d))
			}
			r.before[n.Name()] = now
		}
		return errors.Join(errs...)
	}))
	must(t, r.whole(t))
	return r
}

// strike deals a blow to each of some nodes, and does not wait for the end
// unless one of them still takes another.
func (r *ring) strike(t *testing.T, allowed func(blow, *lab.Node) bool) {
	t.Helper()
	nodes := r.lab.Nodes()
	r.rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	r.busy.Wait()
	for _, n := range nodes[:1+r.rand.IntN(len(nodes))] {
		b := blows[r.rand.IntN(len(blows))]
		for !allowed(b, n) || notYet[b.like] != "" {
			b = blows[r.rand.IntN(len(blows))]
		}
		t.Logf("%s: %s", n.Name(), b.name)
		s := &struck{r.lab, n, rand.New(rand.NewPCG(r.rand.Uint64(), 0)), &r.etcd, &r.leases}
		r.busy.Go(func() { r.note(b.name, b.deal(t.Context(), s)) })
	}
}

func (r *ring) note(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[name] == nil {
		r.all[name] = new([2]int)
	}
	r.all[name][0]++
	if err != nil {
		r.all[name][1]++
	}
}

func (r *ring) dealt() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := 0
	for _, n := range r.all {
		sum += n[0]
	}
	return sum
}

// String shows the blows as a table.
func (r *ring) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "blow\tdealt\tin part")
	for _, bl := range blows {
		if n := r.all[bl.name]; n != nil {
			fmt.Fprintf(w, "%s\t%d\t%d\n", bl.name, n[0], n[1])
		}
	}
	w.Flush()
	return b.String()
}

// whole reports as an error what any node holds other than etcd's leases say,
// and an agent that is not content.
func (r *ring) whole(t *testing.T) error {
	t.Helper()
	all, err := readPublished(t.Context(), r.lab)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range r.lab.Nodes() {
		s, err := n.Agent(0).Status(t.Context())
		if err == nil && (!s.Ready || s.Peers.Programmed != len(all)-1) {
			err = fmt.Errorf("%s: ready %t, waiting for %q, peers programmed %d, problems %v; want ready with %d",
				n.Name(), s.Ready, s.Waiting, s.Peers.Programmed, s.Problems, len(all)-1)
		}
		errs = append(errs, err, agrees(t, n, all))
	}
	return errors.Join(errs...)
}

// asBefore reports as an error what any node holds other than at first.
func (r *ring) asBefore(t *testing.T) error {
	t.Helper()
	var errs []error
	bridge := bridgeOwn(&victim{lab: r.lab}) // of cni0, which takes blows too
	for _, n := range r.lab.Nodes() {
		if d := diff(r.before[n.Name()].without(bridge), stateOf(t, n).without(bridge)); d != "" {
			errs = append(errs, fmt.Errorf("%s is not as before:\n%.3000s", n.Name(), d))
		}
	}
	return errors.Join(errs...)
}

// TestRandom deals a hundred blows, several at once and without waiting for the
// recovery from any. Afterwards every node holds what etcd's leases say, and
// what it held before.
func TestRandom(t *testing.T) {
	t.Parallel()
	r := newRing(t, seed(t))
	for r.dealt() < randomBlows {
		r.strike(t, func(blow, *lab.Node) bool { return true })
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(longestRest))
		<-ctx.Done()
		cancel()
	}
	r.busy.Wait()
	began := time.Now()
	if err := eventually(t, recovery, func() error { return errors.Join(r.whole(t), r.asBefore(t)) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("all nodes were whole %v after the last blow:\n%s", time.Since(began).Round(time.Millisecond), r)
	prove(t, r.lab)
}

// TestBlows wants every name once, so that the table tells them apart, and what
// they are like to exist.
func TestBlows(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, b := range blows {
		if seen[b.name] {
			t.Errorf("two blows are called %q", b.name)
		}
		seen[b.name] = true
		if b.like != "" && !slices.ContainsFunc(faults, func(f fault) bool { return f.name == b.like }) {
			t.Errorf("blow %q is like %q; there is no such fault", b.name, b.like)
		}
	}
}
