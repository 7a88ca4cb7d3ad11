// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/backend/hostgw"
	"github.com/percale-net/percale/backend/vxlan"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
)

// confPeriod is how often the network configuration is read although no news
// of a change came.
const confPeriod = time.Minute

// firstAnswer is how long a start that has waited enough gives the store once
// more.
const firstAnswer = 200 * time.Millisecond

// readConf returns the network configuration as the store has it now, and its
// text.
func (a *Agent) readConf(ctx context.Context) (config.NetConf, []byte, error) {
	raw, err := a.store.NetConf(ctx)
	if err != nil {
		return config.NetConf{}, nil, err
	}
	conf, err := config.ParseNetConf(raw)
	if err != nil {
		return config.NetConf{}, nil, fmt.Errorf("net-conf: %w", err)
	}
	return conf, raw, nil
}

// firstConf is readConf, or after some patience the configuration that the last
// run worked by.
func (a *Agent) firstConf(ctx context.Context) (config.NetConf, []byte, error) {
	wait, cached := a.fallBackIn()
	if !cached {
		return a.readConf(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, max(wait, firstAnswer))
	defer cancel()
	conf, raw, err := a.readConf(limited)
	if err == nil || ctx.Err() != nil {
		return conf, raw, err
	}
	if wait, _ := a.fallBackIn(); wait > 0 {
		return conf, raw, err
	}
	conf, unusable := config.ParseNetConf(a.known.Conf)
	if unusable != nil {
		return conf, nil, fmt.Errorf("%w; and that of the last run: %w", err, unusable)
	}
	a.log.Warn("network configuration of the last run is used", "err", err)
	return conf, a.known.Conf, nil
}

// takeConf makes the agent work by the configuration that the store has.
func (a *Agent) takeConf(ctx context.Context) error {
	conf, raw, err := a.firstConf(ctx)
	if err != nil {
		return err
	}
	a.conf, a.rawConf = conf, raw
	a.backend = newBackend(conf.Backend)
	a.log.Info("network configuration read", "network", conf.Pools.V4.Network,
		"network6", conf.Pools.V6.Network, "backend", a.backend.Name())
	a.report(func(s *status.Status) { s.Backend = a.backend.Name() })
	return nil
}

func newBackend(c config.Backend) backend.Backend {
	if c.Type == config.TypeHostGW {
		return hostgw.Backend{}
	}
	return vxlan.Backend{
		VNI: c.VNI, Port: c.Port, MTU: c.MTU,
		GBP: c.GBP, Learning: c.Learning, DirectRouting: c.DirectRouting,
	}
}

// confRound returns errNewConf when the configuration is another one than we
// work by. One that is wrong is a problem to show, and we go on by the former.
func (a *Agent) confRound(ctx context.Context) (time.Duration, error) {
	conf, raw, err := a.readConf(ctx)
	if err == nil && conf != a.conf {
		a.known.Conf = raw // that of the last run is no choice any more, should the store go away now
		return 0, errNewConf
	}
	a.report(func(s *status.Status) { s.Fault(partNetConf, err, time.Now()) })
	return confPeriod, err
}

// followConf runs confRound until ctx ends, or there is a new configuration.
func (a *Agent) followConf(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	loop := reconcile.New("net-conf", a.log, func(ctx context.Context) (time.Duration, error) {
		again, err := a.confRound(ctx)
		if errors.Is(err, errNewConf) {
			stop(errNewConf)
		}
		return again, err
	})
	a.confKick.Store(new(loop.Kick))
	err := loop.Run(ctx)
	if context.Cause(ctx) == errNewConf {
		return errNewConf
	}
	return err
}

// kickConf has the network configuration read again soon.
func (a *Agent) kickConf() {
	if kick := a.confKick.Load(); kick != nil {
		(*kick)()
	}
}

func (a *Agent) watchConf(ctx context.Context) error {
	return a.store.WatchNetConf(ctx, a.kickConf)
}
