// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet/ipam"
)

// addressPeriod is how often pod addresses are counted, and notePeriod how often
// the agent looks whether there are any.
const (
	addressPeriod = time.Minute
	notePeriod    = 5 * time.Second
)

// An addressBook is what the address loop remembers, alone but for the notes.
type addressBook struct {
	loop    *reconcile.Loop
	sweeper addresses.Sweeper
	trends  map[netip.Prefix]*ipam.Trend
	notes   atomic.Pointer[[]string] // what it has the operator know
}

// addressRound counts the addresses of this node's pods, frees those of
// sandboxes that are gone, and tells when they run out.
func (a *Agent) addressRound(ctx context.Context) (time.Duration, error) {
	b := &a.addresses
	b.sweeper.RunDir, b.sweeper.Host, b.sweeper.Off = a.settings.RunDir, a.kernel, !a.settings.SweepAddresses
	r, err := b.sweeper.Round(ctx)
	if err != nil && !r.Known { // what was known stays
		a.report(func(s *status.Status) { s.Fault("addresses", err, time.Now()) })
		return 0, err
	}
	for _, f := range r.Freed {
		a.log.Warn("freed the addresses of a sandbox that is gone", "addresses", f.Addrs, "container", f.Owner.Container,
			"pod", f.Pod, "given", f.Given)
	}
	uses, notes, full := b.count(r, a.facts.view().lease.Subnets())
	b.notes.Store(&notes)
	a.report(func(s *status.Status) {
		s.Addresses = uses
		s.Fault("addresses", errors.Join(err, full), time.Now())
	})
	if !r.Known {
		return notePeriod, err
	}
	return addressPeriod, err
}

// count says how the addresses of our subnets are used; nothing where that is
// not known.
func (b *addressBook) count(r addresses.Round, subnets []netip.Prefix) (uses []status.Addresses, notes []string, full error) {
	if !r.Known {
		return nil, nil, nil
	}
	trends := make(map[netip.Prefix]*ipam.Trend, len(subnets))
	var fulls []error
	for _, subnet := range subnets {
		t := b.trends[subnet]
		if t == nil {
			t = new(ipam.Trend)
		}
		trends[subnet] = t
		u, users := r.Use(subnet), r.Users(subnet)
		t.Add(r.At, u.Used)
		lasts, growing := t.Full(u.Total)
		one := status.Addresses{Subnet: subnet, Used: u.Used, Total: u.Total, Stale: u.Gone, Resting: u.Resting}
		if growing {
			one.FullAt = r.At.Add(lasts)
		}
		for _, user := range users[:min(len(users), 3)] {
			one.Users = append(one.Users, status.AddressUser{Name: user.Name, Addresses: user.Addrs})
		}
		uses = append(uses, one)
		switch {
		case u.IsFull():
			fulls = append(fulls, errors.New(u.Explain(users, 0)))
		case u.IsMuch():
			notes = append(notes, u.Explain(users, lasts))
		}
	}
	b.trends = trends
	return uses, notes, errors.Join(fulls...)
}

// addressNotes returns what the last look at the addresses has the operator know.
func (a *Agent) addressNotes() []string {
	if notes := a.addresses.notes.Load(); notes != nil {
		return *notes
	}
	return nil
}
