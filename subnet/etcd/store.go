// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/percale-net/percale/subnet"
)

var _ subnet.Store = (*Store)(nil)

const (
	requestLimit = 5 * time.Second // for one request, dialling included
	defaultTTL   = 24 * time.Hour
	minRetry     = 100 * time.Millisecond
	maxRetry     = 5 * time.Second
)

// Config says which etcd to use and how.
type Config struct {
	Endpoints []string // URLs, http or https
	Prefix    string   // of all keys; "": /coreos.com/network

	CertFile, KeyFile string // our certificate; both or none
	CAFile            string // whom to trust; "": the system's roots

	Username string // with Password, or both empty
	Password Secret

	TTL time.Duration // of a lease that is not renewed; 0: 24 hours
	Log *slog.Logger  // nil: slog's default
}

// A Store keeps leases in etcd. It connects when it is first used. One process
// should use one Store: what it published tells a clash of names apart.
type Store struct {
	cfg    Config
	client clientv3.Config
	log    *slog.Logger
	ctx    context.Context // of all connections; it ends with Close
	cancel context.CancelFunc

	dialling chan struct{}  // holds a token while nobody dials
	closing  sync.WaitGroup // connections that Reconnect has given up; added to with mu
	mu       sync.Mutex
	conn     connection        // needs mu
	claims   map[string]*claim // by key, of what this process published; needs mu
	history  history           // needs mu
	losses   int               // how often Publish missed what it had published; needs mu
}

// Open returns a store. It reads the TLS files but asks no server, so that it
// never blocks: an unreachable server shows in the methods' errors.
func Open(cfg Config) (*Store, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "/coreos.com/network"
	}
	if cfg.TTL == 0 {
		cfg.TTL = defaultTTL
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("open etcd store: no --etcd-endpoints given; http://127.0.0.1:2379 would be one")
	}
	for _, e := range cfg.Endpoints {
		u, err := url.Parse(e)
		if err != nil {
			return nil, errors.New("open etcd store: --etcd-endpoints holds what is no URL; http://127.0.0.1:2379 would be one")
		}
		if u.User != nil {
			return nil, fmt.Errorf("open etcd store: --etcd-endpoints holds credentials in %s; give --etcd-username and --etcd-password instead", u.Redacted())
		}
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, fmt.Errorf("open etcd store: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel, dialling: make(chan struct{}, 1), claims: make(map[string]*claim)}
	s.dialling <- struct{}{}
	s.conn = newConnection(ctx)
	s.client = clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  tlsConfig,
		Username:             cfg.Username,
		Password:             cfg.Password.Reveal(),
		DialTimeout:          requestLimit,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: requestLimit,
		MaxUnaryRetries:      5, // of reads; the callers try again as well
		// A quiet logger: what the client would print comes back as errors too.
		Logger: clientv3.NewCtxClient(ctx).GetLogger(),
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: minRetry, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxRetry},
				MinConnectTimeout: requestLimit,
			}),
			grpc.WithChainUnaryInterceptor(failFast),
			grpc.WithChainStreamInterceptor(failBroken),
		},
	}
	return s, nil
}

// etcdctl returns the command that reaches the same etcd. It asks for the
// password.
func (s *Store) etcdctl() string {
	words := []string{"etcdctl", "--endpoints=" + strings.Join(s.cfg.Endpoints, ",")}
	for _, o := range [...][2]string{{"--cacert=", s.cfg.CAFile}, {"--cert=", s.cfg.CertFile}, {"--key=", s.cfg.KeyFile}, {"--user=", s.cfg.Username}} {
		if o[1] != "" {
			words = append(words, o[0]+o[1])
		}
	}
	return strings.Join(words, " ")
}

// subnets returns what the keys of all leases begin with.
func (s *Store) subnets() string { return path.Join(s.cfg.Prefix, "subnets") + "/" }
