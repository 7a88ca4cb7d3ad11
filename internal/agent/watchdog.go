// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
)

// stuckAfter is far longer than any round takes, even one that waits for a store
// or a lock as long as it may.
const stuckAfter = 2 * time.Minute

// loops returns the loops that run as long as one network configuration holds.
func (a *Agent) loops() []*reconcile.Loop {
	return []*reconcile.Loop{a.newsLoop, a.cache, a.leases, a.kernels, a.firewall, a.guardian, a.addresses.loop}
}

// lasting returns the loops that run whether there is one or not.
func (a *Agent) lasting() []*reconcile.Loop { return []*reconcile.Loop{a.cni.loop, a.voice.loop} }

// alive returns nil as long as each loop comes to the end of its rounds, however
// they end: what fails is told elsewhere and tried again. Otherwise only a
// restart helps, which costs no packet. It may be called from any goroutine and
// never blocks.
func (a *Agent) alive() error {
	now := time.Now()
	var stuck []error
	for _, l := range slices.Concat(a.loops(), a.lasting()) {
		if l.Busy(now) >= stuckAfter {
			stuck = append(stuck, fmt.Errorf("the %s loop has been in one round for more than %v", l.Name(), stuckAfter)) // the same words each time
		}
	}
	return errors.Join(stuck...)
}

// watchdog tells systemd again and again that we are alive, if it asked, as long
// as we are. A kubelet asks /healthz.
func (a *Agent) watchdog(ctx context.Context) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.Warn("the watchdog's period is not understood: systemd may end this process", "err", err)
	}
	loop := reconcile.New("watchdog", a.log, func(context.Context) (time.Duration, error) {
		return watchdogPeriod(limit), a.tellAlive(limit, a.alive())
	})
	return loop.Run(ctx)
}

// tellAlive shows what alive returned, and tells systemd if it was nil and limit
// is not 0.
func (a *Agent) tellAlive(limit time.Duration, stuck error) error {
	a.report(func(s *status.Status) { s.Fault("watchdog", stuck, time.Now()) })
	if stuck != nil || limit <= 0 {
		return stuck
	}
	return notify(daemon.SdNotifyWatchdog)
}

// watchdogPeriod returns how often to look whether we are alive, for a service
// manager that ends us when it has not heard of us for limit; 0: there is none.
func watchdogPeriod(limit time.Duration) time.Duration {
	if limit <= 0 {
		return period
	}
	return min(limit/2, period)
}

// tellSystemd tells systemd, if it asked, that we are ready or what we wait for.
// It hears only the first time that a service is ready.
func (a *Agent) tellSystemd(s status.Status) {
	state := daemon.SdNotifyReady + "\nSTATUS=ready"
	if !s.Ready {
		state = "STATUS=not ready: " + strings.ReplaceAll(s.Waiting, "\n", "; ")
	}
	if err := notify(state); err != nil {
		a.log.Warn("how we are is not known to systemd", "err", err)
	}
}

// notify sends lines of assignments to the service manager, if there is one
// (sd_notify(3)).
func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
