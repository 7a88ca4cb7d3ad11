// SPDX-License-Identifier: Apache-2.0

// Package etcdtest runs a real etcd server inside a test, on loopback, with its
// data in the test's own folder.
package etcdtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Options says what the server demands of its clients.
type Options struct {
	TLS         bool   // it shows a certificate by a CA of its own; see Server.CAFile
	ClientCerts bool   // with TLS: it demands a certificate by that CA
	Password    string // not "": users must authenticate; the user root has this password
}

// A Server is a running etcd. Its methods are not for concurrent use.
type Server struct {
	Endpoint          string // URL
	CAFile            string // with TLS: the certificate to trust
	CertFile, KeyFile string // with TLS: a client's certificate by that CA

	options Options
	dir     string
	cluster int // each has an id of its own
	etcd    *embed.Etcd
	servers chan *grpc.Server // of etcd
}

// Start starts a server on a free port and stops it when the test ends.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s := &Server{Endpoint: "http://127.0.0.1:0", options: o, dir: tb.TempDir()}
	if o.TLS {
		s.Endpoint = "https://127.0.0.1:0"
		s.certify(tb)
	}
	s.Restart(tb)
	tb.Cleanup(s.Stop)
	if o.Password != "" {
		s.demandPassword(tb)
	}
	return s
}

// Restart starts a stopped server on the same port with the same data.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = s.file("data")
	cfg.LogLevel, cfg.LogOutputs = "panic", []string{os.DevNull}
	cfg.UnsafeNoFsync, cfg.BcryptCost = true, 4
	cfg.TickMs, cfg.ElectionMs = 20, 200 // one member needs no patience
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = urls(s.Endpoint), urls(s.Endpoint)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = urls("http://127.0.0.1:0"), urls("http://127.0.0.1:0")
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.InitialClusterToken = fmt.Sprint("etcdtest", s.cluster) // it makes the cluster's id
	if s.options.TLS {
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: s.file("server.pem"), KeyFile: s.file("server.key")}
	}
	if s.options.ClientCerts {
		cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = s.CAFile, true
	}
	s.servers = make(chan *grpc.Server, 8)
	cfg.ServiceRegister = func(g *grpc.Server) { s.servers <- g }
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		tb.Fatalf("start etcd: %v", err)
	}
	s.etcd = etcd
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		tb.Fatalf("run etcd: %v", err)
	case <-time.After(time.Minute):
		tb.Fatal("etcd is not ready after a minute")
	}
	s.Endpoint = urls(s.Endpoint)[0].Scheme + "://" + etcd.Clients[0].Addr().String()
}

// Stop ends the server as a crash would, with all its connections. A stopped
// server stays so.
func (s *Server) Stop() {
	if s.etcd == nil {
		return
	}
	for len(s.servers) > 0 {
		(<-s.servers).Stop() // Close alone would wait for watches to end
	}
	s.etcd.Close()
	s.etcd = nil
}

// Save keeps a copy of the data, for Restore. The server restarts for it.
func (s *Server) Save(tb testing.TB) {
	tb.Helper()
	s.Stop()
	copyTo(tb, s.file("saved"), s.file("data"))
	s.Restart(tb)
}

// Restore gives the stopped server the data that Save kept.
func (s *Server) Restore(tb testing.TB) {
	tb.Helper()
	copyTo(tb, s.file("data"), s.file("saved"))
}

// Wipe makes the stopped server one of a new and empty cluster, whose id tells it
// from others but not from that of the same number; the first is 0. (Where the
// same command starts etcd again, its cluster has the same id.)
func (s *Server) Wipe(tb testing.TB, cluster int) {
	tb.Helper()
	if err := os.RemoveAll(s.file("data")); err != nil {
		tb.Fatal(err)
	}
	s.cluster = cluster
}

func copyTo(tb testing.TB, to, from string) {
	tb.Helper()
	if err := os.RemoveAll(to); err != nil {
		tb.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
	// etcd insists on its directories' modes.
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Client returns a client with all rights, which the test's end closes.
func (s *Server) Client(tb testing.TB) *clientv3.Client {
	tb.Helper()
	cfg := clientv3.Config{Endpoints: []string{s.Endpoint}, Logger: clientv3.NewCtxClient(context.Background()).GetLogger(), DialTimeout: time.Minute}
	if s.options.Password != "" {
		cfg.Username, cfg.Password = "root", s.options.Password
	}
	if s.options.TLS {
		cfg.TLS = s.clientTLS(tb)
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		tb.Fatalf("connect to etcd: %v", err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// demandPassword makes the user root and turns authentication on.
func (s *Server) demandPassword(tb testing.TB) {
	tb.Helper()
	password := s.options.Password
	s.options.Password = "" // until it is on
	c, ctx := s.Client(tb), tb.Context()
	s.options.Password = password
	if _, err := c.UserAdd(ctx, "root", password); err != nil {
		tb.Fatal(err)
	}
	if _, err := c.UserGrantRole(ctx, "root", "root"); err != nil {
		tb.Fatal(err)
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) clientTLS(tb testing.TB) *tls.Config {
	tb.Helper()
	cert, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		tb.Fatal(err)
	}
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

func urls(text string) []url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err) // our own text
	}
	return []url.URL{*u}
}
