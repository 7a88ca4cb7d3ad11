// SPDX-License-Identifier: Apache-2.0

// Package agent joins store, backend, firewall and kernel into loops: the news
// loop decides what to believe of the store, the cache loop keeps that on disk,
// the lease loop keeps our lease in the store, the kernel loop makes links,
// addresses, routes, neighbors, FDB and sysctls as planned, the firewall loop
// does so for the rules. Each takes the newest facts, does all that there is to
// do, and is safe to repeat; events only kick it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/owned"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/local"
)

// period is how often a loop looks for drift that no event told of.
const period = 30 * time.Second

// A Store keeps leases, and the cluster's network configuration beside them.
type Store interface {
	subnet.Store

	// Reconnect drops connections that an address which is gone may hold up.
	Reconnect()

	// NetConf returns net-conf.json as it stands now.
	NetConf(ctx context.Context) ([]byte, error)

	// WatchNetConf calls kick when it may have changed. It blocks until ctx
	// ends or the watch breaks.
	WatchNetConf(ctx context.Context, kick func()) error
}

// An Agent is the node agent of one node and one pod network.
type Agent struct {
	settings config.Settings
	version  string
	log      *slog.Logger
	board    *status.Board
	kernel   *kernel.Conn
	facts    facts
	news     news
	began    time.Time   // when Run was called
	known    local.Known // what the last run knew, and of its Conf what is newest; zero At: nothing

	// Known once the store has answered, and not changed after.
	store   Store
	conf    config.NetConf
	rawConf []byte // conf as it was written
	backend backend.Backend
	engine  engine

	newsLoop *reconcile.Loop
	cache    *reconcile.Loop
	leases   *reconcile.Loop
	kernels  *reconcile.Loop
	firewall *reconcile.Loop
	guardian *reconcile.Loop

	confKick atomic.Pointer[func()] // kicks the loop that reads net-conf
	ending   atomic.Bool            // what fails from now on fails because we end

	rulesNote atomic.Pointer[string] // what the firewall loop has the operator know; "" or nil: nothing

	reporting sync.Mutex

	belief   *subnet.Belief // of the news loop alone
	saved    saved          // of the cache loop alone
	seen     seen           // what the kernel loop alone remembers from round to round
	owned    owned.Record   // what of the kernel is ours; the kernel loop's alone
	rewrites rewrites

	guards    guards
	addresses addressBook
	ruled     atomic.Pointer[subnet.Lease] // ours when the firewall loop has tried to write its rules last; nil: never
	cni       cniFiles
	voice     voice
	bridge    atomic.Pointer[pod.Memory] // of the pods' bridge; what it points to is not changed
	stranded  atomic.Pointer[stranded]   // pods of an earlier subnet; nil: none
}

// New returns an agent that does nothing yet.
func New(settings config.Settings, version string, log *slog.Logger) *Agent {
	a := &Agent{settings: settings, version: version, log: log}
	a.board = status.NewBoard(status.Status{
		Node: settings.NodeName, Version: version, PID: os.Getpid(), Started: time.Now(),
		Waiting: "starting",
		Store:   status.Store{Kind: storeKind(settings)},
	})
	a.newsLoop = reconcile.New("news", log, a.newsRound)
	a.cache = reconcile.New("cache", log, a.cacheRound)
	a.leases = reconcile.New("lease", log, a.leaseRound)
	a.kernels = reconcile.New("kernel", log, a.kernelRound)
	a.firewall = reconcile.New("firewall", log, a.firewallRound)
	a.guardian = reconcile.New("guards", log, a.guardRound)
	a.guards.tunnel = guard.NewTunnel(settings.Instance())
	a.addresses.loop = reconcile.New("addresses", log, a.addressRound)
	a.cni.loop = reconcile.New("CNI files", log, a.cniRound)
	a.voice.loop = reconcile.New("node", log, a.nodeRound)
	return a
}

// Run serves until ctx ends, and then returns nil and leaves the data plane as
// it is. It returns an error only for what waiting cannot cure: another agent
// with the same run directory, or a kernel that lets us do nothing.
func (a *Agent) Run(ctx context.Context) error {
	lock, err := lockRunDir(a.settings.RunDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	a.kernel, err = kernel.Open("")
	if err != nil {
		return fmt.Errorf("reach the kernel: %w: percaled needs CAP_NET_ADMIN", err)
	}
	defer a.kernel.Close()
	a.kernel.WriteSysctlsIn(a.settings.SysctlDir)
	a.recallBridge()
	a.loadOwned()

	a.began = time.Now()
	defer context.AfterFunc(ctx, func() {
		a.ending.Store(true)
		notify(daemon.SdNotifyStopping) // what comes of an error, comes anyhow
	})()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.serve(ctx) })
	group.Go(func() error { return a.watchdog(ctx) })
	group.Go(func() error { return a.keep(ctx) })
	group.Go(func() error { return a.keepCNI(ctx) })
	group.Go(func() error { return a.tellNode(ctx) })
	return group.Wait()
}

// errNewConf ends the loops, so that they begin again with a new configuration.
var errNewConf = errors.New("the network configuration has changed")

// keep learns what to do, and then does it until ctx ends. A new configuration
// makes it learn again; until then, and while it does, the data plane stays.
func (a *Agent) keep(ctx context.Context) error {
	if !a.persist(ctx, partStore, a.learnName) {
		return nil
	}
	a.remember()
	for a.prepare(ctx) {
		if err := a.runLoops(ctx); !errors.Is(err, errNewConf) {
			return err
		}
		a.log.Info("starting over", "why", errNewConf)
		a.facts.forget()
		a.seen = seen{}
		a.ruled.Store(nil)
	}
	return nil
}

func (a *Agent) runLoops(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return uncancelled(ctx, a.store.Watch(ctx, a.learn, a.storeFault)) })
	group.Go(func() error { return a.watch(ctx, "kernel events", a.watchKernel) })
	group.Go(func() error { return a.watch(ctx, "firewall events", a.watchFirewall) })
	group.Go(func() error { return a.watch(ctx, "subnet file events", a.watchEnv) })
	group.Go(func() error { return a.watch(ctx, "guard events", a.watchGuards) })
	group.Go(func() error { return a.watch(ctx, "net-conf events", a.watchConf) })
	group.Go(func() error { return a.followConf(ctx) })
	for _, l := range a.loops() {
		group.Go(func() error { return l.Run(ctx) })
	}
	return group.Wait()
}

func (a *Agent) watchKernel(ctx context.Context) error {
	return a.kernel.Watch(ctx, a.kernels.Kick)
}

func (a *Agent) watchFirewall(ctx context.Context) error {
	return a.engine.Watch(ctx, a.firewall.Kick)
}

// watch keeps fn, which only kicks a loop, going. Without it drift is still
// found, though later, so its failure is told and no reason to stop.
func (a *Agent) watch(ctx context.Context, part string, fn func(context.Context) error) error {
	loop := reconcile.New(part, a.log, func(ctx context.Context) (time.Duration, error) {
		// While fn runs all is well, as far as anybody knows.
		a.report(func(s *status.Status) { s.Fault(part, nil, time.Now()) })
		err := fn(ctx)
		switch {
		case ctx.Err() != nil:
			return 0, nil
		case err == nil:
			err = errors.New("ended by itself")
		}
		a.report(func(s *status.Status) { s.Fault(part, err, time.Now()) })
		return 0, err
	})
	return loop.Run(ctx)
}

// uncancelled drops the error that only says that ctx has ended.
func uncancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
