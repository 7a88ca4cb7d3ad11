// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/backend/hostgw"
	"github.com/percale-net/percale/backend/vxlan"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
)

// confPeriod is how often the network configuration is read although no news
// of a change came.
const confPeriod = 5 * time.Minute

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

// followConf returns errNewConf when the configuration is another one than we
// work by. One that is wrong is a problem to show, and we go on by the former.
func (a *Agent) followConf(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	loop := reconcile.New("net-conf", a.log, func(ctx context.Context) (time.Duration, error) {
		conf, err := a.readConf(ctx)
		if err == nil && conf != a.conf {
			stop(errNewConf)
		}
		a.report(func(s *status.Status) { s.Fault(partNetConf, err, time.Now()) })
		return confPeriod, err
	})
	var group errgroup.Group
	group.Go(func() error { return loop.Run(ctx) })
	group.Go(func() error {
		return a.watch(ctx, "net-conf events", func(ctx context.Context) error {
			return a.store.WatchNetConf(ctx, loop.Kick)
		})
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if context.Cause(ctx) == errNewConf {
		return errNewConf
	}
	return nil
}
