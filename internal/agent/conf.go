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

// readConf returns the network configuration as the store has it now.
func (a *Agent) readConf(ctx context.Context) (config.NetConf, error) {
	raw, err := a.store.NetConf(ctx)
	if err != nil {
		return config.NetConf{}, err
	}
	conf, err := config.ParseNetConf(raw)
	if err != nil {
		return config.NetConf{}, fmt.Errorf("net-conf: %w", err)
	}
	return conf, nil
}

// takeConf makes the agent work by the configuration that the store has.
func (a *Agent) takeConf(ctx context.Context) error {
	conf, err := a.readConf(ctx)
	if err != nil {
		return err
	}
	a.conf = conf
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
	conf, err := a.readConf(ctx)
	if err == nil && conf != a.conf {
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
