// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/uplink"
)

var errNoUplink = errors.New("choose uplink")

// followUplink chooses the uplink by what the kernel has now. When it cannot,
// the last one stays: the data plane may still work.
func (a *Agent) followUplink(ctx context.Context) error {
	s := a.settings
	known, err := a.kernel.Facts(ctx, s.IfaceCanReach)
	if err != nil {
		return fmt.Errorf("read links: %w", err)
	}
	a.seen.addresses = nil
	for _, l := range known.Links {
		for _, addr := range l.Addrs {
			a.seen.addresses = append(a.seen.addresses, network.Address{Link: l.Name, Prefix: addr.Prefix})
		}
	}
	v := a.facts.view()
	pools := a.pools(v)
	public4, public6 := a.public(v.snapshot.Own)
	up, err := uplink.Choose(uplink.Wish{
		Ifaces: s.Ifaces, Regexes: s.IfaceRegexes, Reach: s.IfaceCanReach,
		PublicV4: public4, PublicV6: public6,
		V4: pools.V4.Enabled(), V6: pools.V6.Enabled(), Pods: a.networks(),
	}, known)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoUplink, err)
	}
	a.setUplink(up)
	return nil
}

func (a *Agent) setUplink(up network.Uplink) {
	was := a.facts.view().uplink
	if !a.facts.update(func(v *view) { v.uplink = up }) {
		return
	}
	a.log.Info("uplink chosen", "link", up.Name, "address", up.V4, "address6", up.V6, "mtu", up.MTU, "why", up.Why)
	if was.Name != "" && (was.V4 != up.V4 || was.V6 != up.V6) {
		a.store.Reconnect() // its connection may be bound to an address that is gone
	}
	a.leases.Kick()
}
