// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet"
)

// maxPasses bounds the reads of one round. A link that had to be made anew has
// lost its entries, so what was read before says nothing about it.
const maxPasses = 3

// seen is what the kernel loop alone remembers.
type seen struct {
	wish      int                     // of the last round that left the kernel as planned
	addresses []network.Address       // all of this node
	bridge    network.State           // what was wanted of the pods' bridge in that round
	told      []netip.Prefix          // the subnets that CNI plugins were told last
	podMTU    int                     // idem, in bytes
	refused   map[subnet.Refusal]bool // as logged last
	round     time.Time               // when the last one began
	fight     fight
}

// kernelRound makes the kernel agree with the newest facts.
func (a *Agent) kernelRound(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	upErr := a.followUplink(ctx)
	a.report(func(s *status.Status) { s.Fault(partUplink, upErr, time.Now()) })
	v := a.facts.view()
	if v.uplink.Name == "" || !v.known() || !v.held {
		return period, upErr // lease and news kick
	}
	r := a.applyPlan(ctx, v)
	r.began = began
	a.judge(v, &r)
	if r.err == nil {
		a.seen.wish, a.seen.bridge = v.wish, r.bridge.want
		if !r.add {
			r.leftErr = errors.Join(r.leftErr, a.clearLeftovers(ctx, r.plan.State))
		}
	}
	a.seen.round = began
	a.reportRound(v, r)
	if errors.Is(upErr, errNoUplink) {
		// The kernel tells when there is one. A loop that failed would be late
		// for it, and what else failed may have for the lack of one.
		return period, a.seen.fight.told
	}
	return period, errors.Join(upErr, r.err, r.bridgeErr, r.envErr, r.leftErr, a.seen.fight.told)
}

// networks returns the pod networks.
func (a *Agent) networks() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []subnet.Pool{a.conf.Pools.V4, a.conf.Pools.V6} {
		if p.Enabled() {
			all = append(all, p.Network)
		}
	}
	return all
}

// A result is what a round did and found.
type result struct {
	began   time.Time
	self    backend.Self // what the plan was made of
	plan    backend.Plan
	bridge  bridgePlan
	refused []subnet.Refusal
	notes   []string
	add     bool          // nothing may be deleted: the plan is by what the last run knew
	have    network.State // as read last

	changes string          // what was changed in the kernel; "" for nothing
	first   network.Changes // of the first pass
	before  network.State   // first was made of
	tally   tally           // of repairs among them

	err       error // of the kernel, or of the plan
	bridgeErr error // of the pods' bridge
	leftErr   error // of what earlier configurations left
	envErr    error // of subnet.env
}

// applyPlan plans, reads, compares and writes, until there is nothing to write.
func (a *Agent) applyPlan(ctx context.Context, v view) result {
	r := a.makePlan(ctx, v)
	for try := 1; ; try++ {
		if r.err != nil {
			return r
		}
		r.leftErr = a.own(r.plan.State)
		a.admit(r.plan.Peers, r.add) // before there is a way to them
		r.err = a.apply(ctx, &r)
		if !errors.Is(r.err, errLinksMoved) || try == maxPasses {
			break
		}
		r = a.makePlan(ctx, v)
	}
	a.dismiss()                                       // after there is none
	if ownDevicesStand(r.err) && a.isRuled(v.lease) { // else the firewall loop kicks
		r.envErr = a.writeEnv(v, r.self)
	}
	return r
}

// makePlan decides what the kernel must hold.
func (a *Agent) makePlan(ctx context.Context, v view) (r result) {
	r.self = a.self(v)
	for _, addr := range a.seen.addresses {
		r.self.Locals = append(r.self.Locals, addr.Prefix.Addr())
	}
	if r.self.Links, r.err = a.kernel.Links(ctx); r.err != nil {
		r.err = fmt.Errorf("read links: %w", r.err)
		return r
	}
	var peers []subnet.Lease
	peers, r.refused = subnet.Screen(r.self.Pools, v.lease, v.snapshot.Leases)
	if r.plan, r.err = backend.MakePlan(a.backend, r.self, peers); r.err != nil {
		return r
	}
	a.addForwarding(r.plan.State, v.uplink)
	a.addBlackholes(r.plan.State, r.self)
	r.add = !v.synced
	r.bridge = a.planBridge(v, r.self)
	if b, ok := a.backend.(interface{ Notes(backend.Self) []string }); ok {
		r.notes = b.Notes(r.self)
	}
	return r
}

// errLinksMoved says that the plan is of links that are others by now: one that
// it adopts is gone, or one of a name that it uses has come.
var errLinksMoved = errors.New("links change too fast to plan by")

// moved reports whether the links of the plan are others now than when it was
// made.
func (r *result) moved() bool {
	for name := range r.plan.State.Links {
		was, is := r.self.Links[name], r.have.Links[name]
		if was.Kind != is.Kind || was.VXLAN.VNI != is.VXLAN.VNI || was.VXLAN.Port != is.VXLAN.Port {
			return true
		}
	}
	return false
}

// apply makes the kernel hold the plan of r, and notes what it changed.
func (a *Agent) apply(ctx context.Context, r *result) (err error) {
	scope := r.bridge.scope(a.scopeOf(r.plan.State))
	var done []string
	for range maxPasses {
		r.have, err = a.kernel.Read(ctx, scope)
		if err != nil {
			return fmt.Errorf("read kernel: %w", err)
		}
		if len(done) == 0 && r.moved() {
			return errLinksMoved
		}
		waiting := network.Adopt(r.have, r.plan.State)
		r.bridge, r.bridgeErr = r.bridge.look(r.have.Links), nil
		changes := network.Compare(r.have, feasible(r.bridge.join(r.plan.State), r.have))
		if r.add {
			changes = changes.WithoutDeletions()
		}
		if changes.Len() == 0 {
			break
		}
		if len(done) == 0 {
			r.first, r.before = changes, r.have
		}
		done = append(done, changes.String())
		r.changes = strings.Join(done, "; then ")
		err, r.bridgeErr = r.bridge.part(a.kernel.Apply(ctx, changes))
		if err != nil {
			return err
		}
		if len(changes.SetLinks) == 0 && r.bridgeErr == nil && waiting == 0 {
			break
		}
	}
	return nil
}

// ownDevicesStand reports whether err, of applying a plan, concerns peers only.
func ownDevicesStand(err error) bool {
	failed := failedEntries(err)
	for entry := range failed {
		switch entry.(type) {
		case network.Link, network.Address:
			return false
		}
	}
	return err == nil || len(failed) > 0
}

// failedEntries returns the entries that the kernel did not take, with why.
func failedEntries(err error) map[any]error {
	failed := make(map[any]error)
	var collect func(error)
	collect = func(err error) {
		switch e := err.(type) {
		case nil:
		case *kernel.EntryError:
			failed[e.Entry] = e.Err
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				collect(one)
			}
		case interface{ Unwrap() error }:
			collect(e.Unwrap())
		}
	}
	collect(err)
	return failed
}
