// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/local"
)

const (
	// patience is how long a start waits for the store before it works by what
	// the last run left on disk.
	patience = 3 * time.Second

	// saveShare bounds the share of time that writing down the known peers takes:
	// with thousands of them a write is megabytes.
	saveShare = 20

	// saveRest bounds the wait that comes of it: a disk that hung for a while must
	// not make the round look stuck.
	saveRest = time.Minute
)

// remember reads what the last run left on disk. What cannot be read is no more
// than a lost preference, or a start that has to wait for the store.
func (a *Agent) remember() {
	s := a.settings
	previous, err := local.LoadLease(s.StateDir, s.NodeName)
	if err != nil {
		a.log.Warn("own lease of the last run is not known", "err", err)
	}
	// subnet.env is what pods were made by, so it counts for more than our own
	// note, which outlives a reboot.
	env, err := local.ReadEnv(s.SubnetFile)
	switch {
	case err == nil:
		previous.V4.Subnet = env.Subnet.Masked()
		previous.V6.Subnet = env.IPv6Subnet.Masked()
	case !errors.Is(err, fs.ErrNotExist):
		a.log.Warn("the subnet that pods have is not known", "err", err)
	}
	a.facts.update(func(v *view) { v.previous = previous })
	a.known, err = local.LoadPeers(s.StateDir, s.NodeName, a.storeName())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("peers of the last run are not known", "err", err)
	}
	a.belief = subnet.NewBelief(a.known.Leases)
}

// storeName tells whose leases the known peers are.
func (a *Agent) storeName() string {
	if a.settings.KubeSubnetMgr {
		return storeKind(a.settings) + " " + a.settings.KubeAnnotationPrefix
	}
	return storeKind(a.settings) + " " + a.settings.EtcdPrefix
}

// storeKind names what keeps the leases.
func storeKind(s config.Settings) string {
	if s.KubeSubnetMgr {
		return status.Kube
	}
	return status.Etcd
}

// fallBackIn returns how long to wait for the store before what is on disk is
// to be used, 0 for no more, and whether there is anything.
func (a *Agent) fallBackIn() (time.Duration, bool) {
	return max(0, patience-time.Since(a.began)), !a.known.At.IsZero()
}

// fallBack works by the peers of the last run until the store is there.
func (a *Agent) fallBack() time.Duration {
	wait, ok := a.fallBackIn()
	if !ok || wait > 0 || a.facts.view().cached {
		return wait
	}
	a.facts.update(func(v *view) {
		v.snapshot, v.cached = subnet.Snapshot{Leases: a.known.Leases}, true
	})
	a.log.Warn("the store is away; working by the peers of the last run", "peers", len(a.known.Leases), "known", a.known.At)
	a.resume()
	a.kernels.Kick()
	a.report(func(s *status.Status) {
		s.Store.Cached, s.Store.At = true, earlier(a.known.At, time.Now())
	})
	return 0
}

// resume goes on with the subnet that we had before this start although the
// store does not say that it is ours. It is to be published as soon as that can
// be.
func (a *Agent) resume() {
	var own subnet.Lease
	if !a.facts.update(func(v *view) {
		own = a.allowed(v.previous)
		if v.held || len(own.Subnets()) == 0 || !own.Covers(a.pools(*v)) {
			return
		}
		own.Node, own.Backend = a.settings.NodeName, a.backend.Name() // subnet.env does not have them
		v.lease, v.held, v.renewAt = own, true, time.Now()
	}) {
		return
	}
	a.log.Info("going on with the subnet of before", "subnet", own.V4.Subnet, "subnet6", own.V6.Subnet)
	a.kernels.Kick()
	a.firewall.Kick()
	a.report(func(s *status.Status) { s.Subnets = own.Subnets() })
}

// cacheRound keeps on disk what is known, for a start without the store.
func (a *Agent) cacheRound(ctx context.Context) (time.Duration, error) {
	v := a.facts.view()
	if !v.synced {
		return 0, nil
	}
	err := a.saveLease(v) // it is small, and need not wait
	timer := time.NewTimer(time.Until(a.saved.at.Add(min(saveShare*a.saved.took, saveRest))))
	defer timer.Stop()
	select {
	case <-ctx.Done(): // the last chance
	case <-timer.C:
	}
	v = a.facts.view()
	at := v.awaySince
	if at.IsZero() {
		at = time.Now()
	}
	if err = errors.Join(err, a.save(v.snapshot, at)); err != nil {
		err = fmt.Errorf("%w: should this node restart while the store is away, it may lack its subnet and its peers. "+
			"See what keeps files from being written: df %s", err, a.settings.StateDir)
	}
	a.report(func(s *status.Status) { s.Fault("cache", err, time.Now()) })
	return period, err
}

// saveLease writes down the lease that we hold.
func (a *Agent) saveLease(v view) error {
	if !v.held {
		return nil
	}
	return local.SaveLease(a.settings.StateDir, v.lease)
}

// save writes down what is known, and that it was right at the time.
func (a *Agent) save(s subnet.Snapshot, at time.Time) error {
	dir := a.settings.StateDir
	if a.saved.conf == string(a.rawConf) && sameLeases(a.saved.snapshot, s) && local.TouchPeers(dir, at) == nil {
		return nil
	}
	began := time.Now()
	err := local.SavePeers(dir, local.Known{
		Node: a.settings.NodeName, Store: a.storeName(), Conf: a.rawConf, Leases: s.Leases, At: at,
	})
	a.saved = saved{at: time.Now(), took: time.Since(began)}
	if err == nil {
		a.saved.snapshot, a.saved.conf = s, string(a.rawConf)
	}
	return err
}

// Saved is what was written last.
type saved struct {
	at       time.Time // zero: never
	took     time.Duration
	snapshot subnet.Snapshot
	conf     string
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
