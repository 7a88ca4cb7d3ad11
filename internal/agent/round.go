// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/uplink"
	"github.com/percale-net/percale/subnet"
)

// maxPasses bounds the reads of one round. A link that had to be made anew has
// lost its entries, so what was read before says nothing about it.
const maxPasses = 3

// seen is what the kernel loop alone remembers.
type seen struct {
	wish    int              // of the last round that left the kernel as planned
	refused []subnet.Refusal // as logged last
}

// kernelRound makes the kernel agree with the newest facts.
func (a *Agent) kernelRound(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	upErr := a.followUplink(ctx)
	a.report(func(s *status.Status) { s.Fault(partUplink, upErr, time.Now()) })
	v := a.facts.view()
	if v.uplink.Name == "" || !v.synced || !v.held {
		return period, upErr // lease and store kick
	}
	result, err := a.applyPlan(ctx, v)
	if err == nil && a.seen.wish == v.wish && result.changes != "" {
		a.log.Warn("repaired the kernel", "what", result.changes)
		result.repair = status.Repair{At: began, What: result.changes}
	}
	if err == nil {
		a.seen.wish = v.wish
	}
	result.began, result.err = began, err
	a.reportRound(v, result)
	return period, errors.Join(upErr, err)
}

// followUplink chooses the uplink by what the kernel has now. When it cannot,
// the last one stays: the data plane may still work.
func (a *Agent) followUplink(ctx context.Context) error {
	s := a.settings
	known, err := a.kernel.Facts(ctx, s.IfaceCanReach)
	if err != nil {
		return fmt.Errorf("read links: %w", err)
	}
	up, err := uplink.Choose(uplink.Wish{
		Ifaces: s.Ifaces, Regexes: s.IfaceRegexes, Reach: s.IfaceCanReach,
		PublicV4: s.PublicIP, PublicV6: s.PublicIPv6,
		V4: a.conf.Pools.V4.Enabled(), V6: a.conf.Pools.V6.Enabled(),
	}, known)
	if err != nil {
		return fmt.Errorf("choose uplink: %w", err)
	}
	if a.facts.update(func(v *view) { v.uplink = up }) {
		a.log.Info("uplink chosen", "link", up.Name, "address", up.V4, "address6", up.V6, "mtu", up.MTU, "why", up.Why)
		a.leases.Kick()
	}
	return nil
}

// A result is what a round did and found.
type result struct {
	began   time.Time
	plan    backend.Plan
	refused []subnet.Refusal
	have    network.State
	changes string // what was changed in the kernel; "" for nothing
	repair  status.Repair
	err     error
}

// applyPlan plans, reads, compares and writes, until there is nothing to write.
func (a *Agent) applyPlan(ctx context.Context, v view) (result, error) {
	self := a.self(v)
	links, err := a.kernel.Links(ctx)
	if err != nil {
		return result{}, fmt.Errorf("read links: %w", err)
	}
	self.Links = links
	peers, refused := subnet.Screen(self.Pools, v.lease, v.snapshot.Leases)
	plan, err := backend.MakePlan(a.backend, self, peers)
	if err != nil {
		return result{}, err
	}
	r := result{plan: plan, refused: refused}
	a.addForwarding(plan.State)
	a.addBlackholes(plan.State, self)
	err = a.apply(ctx, &r)
	if ownDevicesStand(err) {
		err = errors.Join(err, a.writeEnv(v, self))
	}
	return r, err
}

func (a *Agent) apply(ctx context.Context, r *result) error {
	scope := a.scopeOf(r.plan.State)
	var done []string
	for range maxPasses {
		have, err := a.kernel.Read(ctx, scope)
		if err != nil {
			return fmt.Errorf("read kernel: %w", err)
		}
		r.have = have
		wish := feasible(r.plan.State, have)
		changes := network.Compare(have, wish)
		if changes.Len() == 0 {
			break
		}
		done = append(done, changes.String())
		r.changes = strings.Join(done, "; then ")
		if err := a.kernel.Apply(ctx, changes); err != nil {
			return err
		}
		if len(changes.SetLinks) == 0 {
			break
		}
	}
	return nil
}

// ownDevicesStand reports whether err, of applying a plan, concerns peers only.
func ownDevicesStand(err error) bool {
	for entry := range failedEntries(err) {
		switch entry.(type) {
		case network.Link, network.Address:
			return false
		}
	}
	return err == nil || len(failedEntries(err)) > 0
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
