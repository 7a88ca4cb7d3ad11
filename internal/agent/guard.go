// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/backend/vxlan"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/subnet"
)

// The parts that problems of guards are told of.
const (
	partGuard  = "guards" // they cannot be written
	partTunnel = "tunnel" // they drop what a peer sends
)

// lookEvery is how often the tunnel's guard is read although no event told of a
// change. It has two entries per peer, and nf_tables tells of each change.
const lookEvery = 5 * time.Minute

// guards are what the guard loop and the kernel loop share.
type guards struct {
	tunnel *guard.Tunnel
	pods   guard.Pods      // of the guard loop alone
	ports  map[string]bool // of pods, in its last round
	firsts firsts          // whose tunnel packets are refused; likewise

	touched atomic.Bool // the tunnel's guard may be another than wished

	mu     sync.Mutex // guards all following fields, and what is written of the tunnel
	looked time.Time  // at all of the tunnel's guard, last
	wish   tunnelWish
	next   tunnelWish // after routes are as planned
	err    error      // of the last Admit
	noted  []string
	known  bool // what was there before the first round of the guard loop is no repair
}

// A tunnelWish is whom to take tunnel packets of.
type tunnelWish struct {
	told    bool   // there is a plan
	off     string // why they are taken of anybody; "": they are not
	rules   firewall.Tunnel
	origins map[firewall.Origin]bool
	keep    bool // others, whom an earlier run knew, may stay
	peers   []backend.Peer
}

// tunnelWish returns the wish for the peers of a plan.
func (a *Agent) tunnelWish(peers []backend.Peer, keep bool) tunnelWish {
	w := tunnelWish{told: true, keep: keep, peers: peers, off: a.tunnelOff()}
	if w.off != "" {
		return w
	}
	own := a.facts.view().lease
	w.rules = firewall.Tunnel{
		Port: a.conf.Backend.Port, VNI: a.conf.Backend.VNI,
		V4: podNetwork(a.conf.Pools.V4, own.V4), V6: podNetwork(a.conf.Pools.V6, own.V6),
	}
	w.origins = make(map[firewall.Origin]bool, 2*len(peers))
	for _, p := range peers {
		for e := range p.Lease.Endpoints() {
			for _, from := range vxlan.Sources(e) {
				w.origins[firewall.Origin{Peer: from, Pods: e.Subnet}] = true
				// Its processes may answer a pod from the address that it asked.
				w.origins[firewall.Origin{Peer: from, Pods: single(from)}] = true
			}
		}
	}
	return w
}

// podNetwork takes the length of nodes' subnets from ours: where the cluster
// assigns them, net-conf does not tell it.
func podNetwork(p subnet.Pool, own subnet.Endpoint) firewall.PodNetwork {
	n := firewall.PodNetwork{Network: p.Network, Node: p.Len}
	if own.Subnet.IsValid() {
		n.Node = own.Subnet.Bits()
	}
	return n
}

// tunnelOff says why the tunnel is not guarded; "" if it is.
func (a *Agent) tunnelOff() string {
	switch {
	case a.conf.Backend.Type != config.TypeVXLAN:
		return "no tunnel"
	case a.conf.Backend.Unguarded:
		return "off in net-conf"
	case a.engine.Name() != string(config.FirewallNFTables):
		return "not in " + a.engine.Name() + " mode"
	}
	return ""
}

// admit takes tunnel packets of new peers before there is a way to them, and
// goes on to take those of former ones until dismiss.
func (a *Agent) admit(peers []backend.Peer, keep bool) {
	g := &a.guards
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = a.tunnelWish(peers, keep)
	if g.next.off != "" {
		return
	}
	both := g.next
	both.keep = both.keep || !g.wish.told
	both.origins = maps.Clone(g.next.origins)
	maps.Copy(both.origins, g.wish.origins)
	g.wish = both
	g.err = g.tunnel.Admit(both.rules, both.origins)
}

// dismiss has tunnel packets of former peers refused, as the guard loop does.
func (a *Agent) dismiss() {
	g := &a.guards
	g.mu.Lock()
	same := g.err == nil && g.known && g.wish.told && g.wish.off == g.next.off && maps.Equal(g.wish.origins, g.next.origins)
	g.wish = g.next
	g.mu.Unlock()
	if !same {
		a.touchGuards()
	}
}

func (a *Agent) watchGuards(ctx context.Context) error {
	return a.guards.tunnel.Watch(ctx, a.touchGuards)
}

func (a *Agent) touchGuards() {
	a.guards.touched.Store(true)
	a.guardian.Kick()
}

// guardRound makes the kernel guard the tunnel and the pods that are there.
func (a *Agent) guardRound(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	wish, found, err := a.guards.syncTunnel()
	s := status.Guards{Tunnel: wish.off, Origins: len(wish.origins)}
	if wish.told && wish.off == "" {
		s.Tunnel = "on"
	}
	var more, notes []string
	var podErr error
	s.Pods, more, podErr = a.syncPods(ctx, now)
	if errors.Is(podErr, guard.ErrNoNFTables) {
		notes = append(notes, fmt.Sprintf("pods are not guarded, and can send from any address: %v. Load the module nf_tables", podErr))
	}
	strangers, countErr := a.guards.count(&s)
	told, firsts := a.guards.firsts.judge(strangers, wish.peers, now)
	a.guards.firsts = firsts
	err = errors.Join(err, possible(podErr), possible(countErr))
	repaired := a.guards.settle(append(found, more...), append(notes, told.notes...))
	if repaired.what != "" {
		a.log.Warn("repaired the guards", "found", repaired.what)
	}
	a.report(func(st *status.Status) {
		s.Repairs = st.Guards.Repairs
		s.Repairs.Add(repaired.counts)
		st.Guards = s
		st.Fault(partGuard, err, now)
		st.Fault(partTunnel, told.problem, now)
	})
	if told.soon {
		return lasting, err
	}
	return period, err
}

// possible returns err unless it says that this kernel has no guards at all.
func possible(err error) error {
	if errors.Is(err, guard.ErrNoNFTables) {
		return nil
	}
	return err
}

// count puts into s how many packets were dropped, and returns whose they were
// that came through the tunnel.
func (g *guards) count(s *status.Guards) ([]guard.Stranger, error) {
	r, err := g.tunnel.Refusals()
	if err != nil {
		return nil, err
	}
	s.Refused = r.Tunnel
	s.Dropped, err = guard.Refused()
	return r.Strangers, err
}

// settle remembers what a round found, and returns what of it was a repair.
func (g *guards) settle(found, notes []string) repair {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.known
	g.known, g.noted = true, notes
	if first || len(found) == 0 {
		return repair{}
	}
	return undoneRules(found)
}

func (g *guards) notes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.noted
}

// syncTunnel makes the kernel take tunnel packets as wished, and says what was
// undone by others.
func (g *guards) syncTunnel() (w tunnelWish, undone []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w = g.wish
	switch {
	case !w.told:
		return w, nil, nil
	case w.off != "":
		_, err := g.tunnel.Clear()
		return w, nil, err
	case !g.touched.Swap(false) && g.err == nil && time.Since(g.looked) < lookEvery:
		return w, nil, nil
	}
	g.looked = time.Now()
	changed, err := g.tunnel.Sync(w.rules, w.origins, w.keep)
	g.err = err
	// What is not wanted any more is no repair: a peer went.
	changed = slices.DeleteFunc(changed, func(c string) bool { return strings.HasSuffix(c, "not wanted") })
	return w, changed, err
}
