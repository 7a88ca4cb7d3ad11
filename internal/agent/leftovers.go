// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/owned"
	"github.com/percale-net/percale/subnet/local"
)

// loadOwned finds what agents before us made. Where the note of it is lost, so
// is what it alone knew: leftovers of earlier configurations.
func (a *Agent) loadOwned() {
	r, err := readOwned(a.settings.RunDir)
	if err != nil {
		a.log.Warn("what an earlier configuration left in the kernel stays there", "err", err)
	}
	a.owned = r
}

// readOwned returns the record in a run directory, an empty one if there is none.
func readOwned(runDir string) (owned.Record, error) {
	b, err := local.LoadOwned(runDir)
	if b == nil && err == nil {
		return owned.Record{}, nil
	}
	var r owned.Record
	if err == nil {
		r, err = owned.Parse(b)
	}
	if err != nil {
		err = fmt.Errorf("%s is damaged: %w; it is written anew", local.OwnedPath(runDir), err)
	}
	return r, err
}

// own notes what want will make ours, before it is made: who is killed half-way
// finds it at the next start. Where the note cannot be written, work goes on. One
// that stands already is only read.
func (a *Agent) own(want network.State) error {
	return a.keepOwned(a.owned.With(owned.Of(want, a.networks())))
}

func (a *Agent) keepOwned(r owned.Record) error {
	if !r.Equal(a.owned) { // or only the order differs
		a.owned = r
	}
	b, err := a.owned.Bytes()
	if err != nil {
		return err
	}
	return local.SaveOwned(a.settings.RunDir, b)
}

// clearLeftovers removes what is ours and not in want any more: devices of
// another VNI, port or family, and routes to pod networks of before. It is
// called when the kernel holds want, so that nothing is broken before its
// successor stands. Routes to the present networks are compared by each round.
func (a *Agent) clearLeftovers(ctx context.Context, want network.State) error {
	now := owned.Of(want, a.networks())
	left := a.owned.Without(now)
	if left.Empty() {
		return nil
	}
	err := errors.Join(a.deleteRoutes(ctx, want, left), a.deleteDevices(ctx, left))
	if err != nil {
		return fmt.Errorf("remove what an earlier configuration left: %w", err)
	}
	return a.keepOwned(now)
}

// deleteRoutes deletes what want has not of our routes in networks that are
// left over.
func (a *Agent) deleteRoutes(ctx context.Context, want network.State, left owned.Record) error {
	if len(left.Networks) == 0 {
		return nil
	}
	scope := a.scopeOf(want)
	scope.Networks = slices.Concat(scope.Networks, left.Networks)
	have, err := a.kernel.Read(ctx, scope)
	if err != nil {
		return err
	}
	// All else is for the next round to compare.
	changes := network.Changes{DelRoutes: network.Compare(have, want).DelRoutes}
	if changes.Len() > 0 {
		a.log.Info("removing routes to earlier networks", "networks", left.Networks, "count", len(changes.DelRoutes))
	}
	return a.kernel.Apply(ctx, changes)
}

// deleteDevices deletes the devices of left. One that another program has made
// something else of is its own now.
func (a *Agent) deleteDevices(ctx context.Context, left owned.Record) error {
	if len(left.Devices) == 0 {
		return nil
	}
	links, err := a.kernel.Links(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range left.In(links) {
		a.log.Info("removing overlay device of an earlier configuration", "link", d.Name, "vni", d.VNI, "port", d.Port)
		errs = append(errs, a.kernel.DelLink(ctx, d.Name))
	}
	return errors.Join(errs...)
}
