// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"time"

	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet/etcd"
)

// prepare waits for what no loop can do without: a store, the network
// configuration and a firewall. It reports whether ctx still lives.
func (a *Agent) prepare(ctx context.Context) bool {
	return a.persist(ctx, partStore, a.openStore) &&
		a.persist(ctx, partNetConf, a.takeConf) &&
		a.persist(ctx, partFirewall, a.chooseEngine)
}

// persist repeats fn until it succeeds or ctx ends, which it reports as false.
// Why it waits stands in the status.
func (a *Agent) persist(ctx context.Context, part string, fn func(context.Context) error) bool {
	until, done := context.WithCancel(ctx)
	defer done()
	loop := reconcile.New(part, a.log, func(ctx context.Context) (time.Duration, error) {
		err := fn(ctx)
		if err == nil {
			done()
		}
		a.report(func(s *status.Status) { s.Fault(part, err, time.Now()) })
		return 0, err
	})
	loop.Run(until)
	return ctx.Err() == nil
}

func (a *Agent) openStore(context.Context) error {
	if a.store != nil {
		return nil // a new configuration is no reason for a new connection
	}
	s := a.settings
	if s.KubeSubnetMgr {
		return a.openKube()
	}
	store, err := etcd.Open(etcd.Config{
		Endpoints: s.EtcdEndpoints,
		Prefix:    s.EtcdPrefix,
		CertFile:  s.EtcdCertFile,
		KeyFile:   s.EtcdKeyFile,
		CAFile:    s.EtcdCAFile,
		Username:  s.EtcdUsername,
		Password:  etcd.Secret(s.EtcdPassword.Reveal()),
		Log:       a.log,
	})
	if err != nil {
		return err
	}
	a.store = store
	return nil
}
