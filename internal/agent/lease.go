// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet"
)

// leaseRound makes the store hold our lease as it should be now, and says when
// it is to be renewed.
func (a *Agent) leaseRound(ctx context.Context) (time.Duration, error) {
	v := a.facts.view()
	if !v.synced || v.uplink.Name == "" {
		return 0, nil // both will kick
	}
	err := a.publish(ctx, v)
	switch {
	case errors.Is(err, subnet.ErrNameClash):
		err = fmt.Errorf("%w: give one of the two another --node-name and start it anew", err)
	case errors.Is(err, subnet.ErrSubnetLost):
		a.resume() // or an agent that has just started would look after nothing
		err = fmt.Errorf("%w: peers send packets for these pods there. Move them: kubectl drain %s --ignore-daemonsets, "+
			"and reboot it if pods of daemon sets stay; with the last of them gone, it takes another subnet by itself",
			err, a.settings.NodeName)
	case errors.Is(err, subnet.ErrReassigned):
		err = fmt.Errorf("%w. It stays until they are gone: kubectl drain %s --ignore-daemonsets, "+
			"and reboot it if pods of daemon sets stay", err, a.settings.NodeName)
	case err != nil:
		err = fmt.Errorf("lease a subnet: %w", a.remedy(err))
	}
	source := a.subnetSource(a.facts.view())
	a.report(func(s *status.Status) {
		s.Fault(partLease, err, time.Now())
		s.Kubernetes.Source = source
	})
	return untilNext(a.facts.view().renewAt), err
}

func (a *Agent) publish(ctx context.Context, v view) error {
	own, release, pods, unsettled := a.choose(ctx, v)
	if own == (subnet.Lease{}) {
		return unsettled
	}
	a.fillData(&own, v)
	fresh := v.renewAt.IsZero() || time.Now().Before(v.renewAt)
	stands := slices.Contains(v.snapshot.Leases, own) && !v.snapshot.Own.Amiss
	same := v.held && own == v.lease && fresh
	if same && stands && len(release) == 0 {
		return unsettled
	}
	if same && !stands {
		if many, lasting := a.rewrites.exceeded(time.Now()); lasting {
			return errors.Join(a.rewritten(), unsettled)
		} else if many {
			return unsettled
		}
	}
	expires, err := a.store.Publish(ctx, own)
	if err != nil {
		if unsettled != nil {
			a.resume() // pods live in it
		}
		return errors.Join(err, unsettled)
	}
	if same && !stands {
		a.rewrites.note(time.Now())
	}
	// First, or its release would look like the loss of the lease that we have.
	a.hold(own, expires, pods)
	for _, old := range release {
		if err := a.store.Release(ctx, old); err != nil {
			return fmt.Errorf("release our older lease: %w", err)
		}
	}
	return unsettled
}

// choose returns what to lease and what to release; with an error, what to lease
// meanwhile, if pods live in it. It looks for pods, and returns the ports of
// those that live, only where another subnet than the last one would be chosen
// without them.
func (a *Agent) choose(ctx context.Context, v view) (own subnet.Lease, release []subnet.Lease, pods map[string]bool, err error) {
	c := a.claim(v)
	own, release, err = subnet.Choose(c, v.snapshot.Leases, rand.IntN)
	if err == nil && movedFrom(v.last(), own) == nil {
		return own, release, nil, nil
	}
	pods, unknown := a.livePods(ctx)
	if unknown != nil {
		return subnet.Lease{}, nil, nil, unknown
	}
	if c.PodsLive = len(pods) > 0; c.PodsLive {
		own, release, err = subnet.Choose(c, v.snapshot.Leases, rand.IntN)
	}
	return own, release, pods, err
}

// hold notes that own is ours until expires. pods are the ports of pods that may
// be left in another subnet.
func (a *Agent) hold(own subnet.Lease, expires time.Time, pods map[string]bool) {
	var renewAt time.Time
	if !expires.IsZero() {
		renewAt = expires.Add(-a.settings.RenewMargin)
		// A margin longer than the lease would make every round renew.
		renewAt = later(renewAt, time.Now().Add(time.Until(expires)/2))
	}
	before := a.facts.view().last()
	changed := a.facts.update(func(v *view) {
		v.lease, v.held, v.renewAt = own, true, renewAt
	})
	if changed {
		a.log.Info("lease held", "subnet", own.V4.Subnet, "subnet6", own.V6.Subnet, "expires", ending(expires))
		a.kernels.Kick()
		a.firewall.Kick()
		a.cache.Kick()
	}
	if moved := movedFrom(before, own); moved != nil && len(pods) > 0 {
		a.strand(moved, pods)
	}
	a.report(func(s *status.Status) {
		s.Expires = expires
		s.Subnets = own.Subnets()
	})
}

// ending is for the log: when a lease ends, or that it does not.
func ending(expires time.Time) string {
	if expires.IsZero() {
		return "never"
	}
	return expires.Format(time.RFC3339)
}

// movedFrom says what another subnet than before means for pods.
func movedFrom(before, own subnet.Lease) error {
	for _, e := range [][2]subnet.Endpoint{{before.V4, own.V4}, {before.V6, own.V6}} {
		if was, is := e[0].Subnet, e[1].Subnet; was.IsValid() && was != is {
			return fmt.Errorf("this node had %s and has %s now: pods made before keep addresses that no node routes here; "+
				"delete them, so that they are made anew", was, is)
		}
	}
	return nil
}

// claim says what we ask for.
func (a *Agent) claim(v view) subnet.Claim {
	last, own := v.last(), v.snapshot.Own
	public4, public6 := a.public(own)
	c := subnet.Claim{Node: a.settings.NodeName, Backend: a.backend.Name(), Pools: a.pools(v), Assigned: own.Assigned}
	c.V4 = subnet.Endpoint{Subnet: last.V4.Subnet, Uplink: cmp.Or(own.V4.Overwrite, public4, v.uplink.V4)}
	c.V6 = subnet.Endpoint{Subnet: last.V6.Subnet, Uplink: cmp.Or(own.V6.Overwrite, public6, v.uplink.V6)}
	return c
}

// public returns the addresses that this node is told to publish instead of its
// uplink's: what the store says goes before the flags.
func (a *Agent) public(own subnet.Own) (v4, v6 netip.Addr) {
	return cmp.Or(own.V4.Public, a.settings.PublicIP), cmp.Or(own.V6.Public, a.settings.PublicIPv6)
}

// fillData adds what the backend publishes. It sees what the lease said
// before, so that a VTEP MAC once published is kept.
func (a *Agent) fillData(own *subnet.Lease, v view) {
	before := v.last()
	for _, l := range v.snapshot.Leases {
		same := l.V4.Subnet == own.V4.Subnet && l.V6.Subnet == own.V6.Subnet
		if same && l.Backend != "" && subnet.Mine(subnet.ClaimOf(*own), l) {
			before = l
		}
	}
	self := a.self(v)
	self.Lease = *own
	self.Lease.V4.Data, self.Lease.V6.Data = before.V4.Data, before.V6.Data
	own.V4.Data, own.V6.Data = a.backend.Publish(self)
}

// self is what a backend is told of this node.
func (a *Agent) self(v view) backend.Self {
	return backend.Self{Node: a.settings.NodeName, Lease: v.lease, Pools: a.pools(v), Uplink: v.uplink}
}

// untilNext returns when to look again: for the renewal, or because a lost race
// may leave the store with another's word under our key and no news of it.
func untilNext(renewAt time.Time) time.Duration {
	if renewAt.IsZero() {
		return period
	}
	return min(period, max(time.Until(renewAt), time.Second))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
