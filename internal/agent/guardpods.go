// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/network/pod"
)

// syncPods makes the kernel guard the pods whose ports say so.
func (a *Agent) syncPods(ctx context.Context, now time.Time) (pods int, undone []string, err error) {
	aliases, err := a.kernel.Aliases(ctx)
	if err != nil {
		return 0, nil, err
	}
	senders, badErr := sendersOf(aliases)
	changed, err := a.guards.pods.Sync(senders, now)
	last, fresh := a.guards.ports, false
	a.guards.ports = make(map[string]bool, len(senders))
	for _, s := range senders {
		a.guards.ports[s.Port] = true
		fresh = fresh || !last[s.Port]
	}
	// An element that came before the plugin wrote it, or that is not wanted any
	// more, is no repair.
	changed = slices.DeleteFunc(changed, func(c string) bool { return fresh || strings.HasSuffix(c, "not wanted") })
	return len(senders), changed, errors.Join(badErr, err)
}

// sendersOf returns what the pods behind the links may send from, in order of
// link.
func sendersOf(aliases map[string]string) (senders []pod.Sender, err error) {
	var errs []error
	for _, port := range slices.Sorted(maps.Keys(aliases)) {
		s, ok, err := pod.ParseSender(port, aliases[port])
		if ok {
			senders = append(senders, s)
		}
		errs = append(errs, err)
	}
	return senders, errors.Join(errs...)
}

// guards removes the guard of the tunnel, and those of pods if there are none.
func (c *cleaner) guards(ctx context.Context) error {
	name := c.settings.Instance() + "-tunnel"
	was, err := guard.NewTunnel(c.settings.Instance()).Clear()
	if was {
		c.say("removed nftables table inet %s", name)
	}
	aliases, aliasErr := c.kernel.Aliases(ctx)
	if err := errors.Join(err, aliasErr); err != nil {
		return err
	}
	if senders, _ := sendersOf(aliases); len(senders) > 0 {
		return nil // pods stay, and so do their guards
	}
	was, err = guard.ClearPods()
	if was {
		c.say("removed nftables tables %s", guard.PodTable)
	}
	return err
}
