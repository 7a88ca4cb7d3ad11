// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/percale-net/percale/internal/netns"
)

const etcdRole = "etcd"

// EtcdConfig says how ServeEtcd runs.
type EtcdConfig struct {
	Dir    string // of the data; made if need be
	Listen string // client URL
	Quiet  bool   // it logs nothing, not even errors
}

// ServeEtcd runs an etcd server in this process until ctx ends. It never waits
// for the disk, so its data survive a crash of the process but not of the
// machine; a lab's do not need to.
func ServeEtcd(ctx context.Context, c EtcdConfig) error {
	listen, err := url.Parse(c.Listen)
	if err != nil {
		return err
	}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "lab", c.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*listen}, []url.URL{*listen}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	cfg.LogLevel = "error" // it warns of what a lab does on purpose
	if c.Quiet {
		cfg.LogLevel, cfg.LogOutputs = "panic", []string{os.DevNull}
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer e.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.Err():
		return fmt.Errorf("run etcd: %w", err)
	}
}

// StartEtcd starts the lab's etcd, with the data that it had.
func (l *Lab) StartEtcd(ctx context.Context) error {
	argv := []string{filepath.Join(l.spec().Bin, "percale-lab"), "etcd",
		"--dir", l.etcdDir(), "--listen", l.spec().etcdEndpoint()}
	if err := l.start(l.Switch(), etcdRole, argv); err != nil {
		return err
	}
	dial := dialerIn(l.Switch())
	return l.await(ctx, etcdRole, func() error {
		conn, err := dial(ctx, strings.TrimPrefix(l.spec().etcdEndpoint(), "http://"))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// StopEtcd kills the lab's etcd, as a crash would.
func (l *Lab) StopEtcd(ctx context.Context) error { return l.kill(ctx, etcdRole) }

// Etcd returns a client of the lab's etcd, which dials inside the lab. The
// caller closes it.
func (l *Lab) Etcd() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{l.spec().etcdEndpoint()},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(dialerIn(l.Switch()))},
	})
}

// dialerIn dials TCP in a namespace. The socket stays there, whichever thread
// uses it later.
func dialerIn(ns netns.NS) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (conn net.Conn, err error) {
		err = ns.Do(func() (err error) {
			// One address, so the dial stays on this thread.
			conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
			return err
		})
		return conn, err
	}
}

// putConfigs writes the net-conf of every pod network.
func (l *Lab) putConfigs(ctx context.Context) error {
	client, err := l.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	for i := range l.spec().Networks {
		conf, err := l.spec().NetConf(i)
		if err != nil {
			return err
		}
		if _, err := client.Put(ctx, l.spec().EtcdPrefix(i)+"/config", string(conf)); err != nil {
			return fmt.Errorf("put net-conf: %w", err)
		}
	}
	return nil
}
