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

// A Store keeps leases in etcd. It connects when it is first used.
type Store struct {
	cfg    Config
	client clientv3.Config
	log    *slog.Logger
	ctx    context.Context // of the connection; it ends with Close
	cancel context.CancelFunc

	dialling chan struct{} // holds a token while nobody dials
	mu       sync.Mutex
	conn     *clientv3.Client // nil before the first use; needs mu
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
	s := &Store{cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel, dialling: make(chan struct{}, 1)}
	s.dialling <- struct{}{}
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
		},
	}
	return s, nil
}

// failFast makes a request fail with the cause, such as a refused connection or
// certificate, where the client would wait for a better time and then tell only
// that the time is up.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// Close ends the connection, and with it all that is under way.
func (s *Store) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	if err := s.conn.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd store: %w", err)
	}
	return nil
}

// dial returns the client. Making it asks the server only where there is a
// password, for a token; so it can fail and is then made anew.
func (s *Store) dial(ctx context.Context) (*clientv3.Client, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.dialling:
		defer func() { s.dialling <- struct{}{} }()
	}
	if c := s.connected(); c != nil {
		return c, s.ctx.Err()
	}
	cfg := s.client
	own, cancel := context.WithCancel(s.ctx)
	cfg.Context = own
	stop := context.AfterFunc(ctx, cancel) // ctx bounds the dialling, not the client
	c, err := clientv3.New(cfg)
	if err != nil {
		stop()
		cancel()
		return nil, errors.Join(ctx.Err(), err)
	}
	if !stop() {
		c.Close()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil { // Close was faster
		c.Close()
		return nil, s.ctx.Err()
	}
	s.conn = c
	return c, nil
}

func (s *Store) connected() *clientv3.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// ask runs one request with its time limit, and explains its error.
func (s *Store) ask(ctx context.Context, what string, request func(context.Context, *clientv3.Client) error) error {
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	c, err := s.dial(limited)
	if err == nil {
		err = request(limited, c)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.explain(what, err)
}

// NetConf returns the cluster's network configuration as it is in
// <prefix>/config. It does not change once agents run, so nobody watches it.
func (s *Store) NetConf(ctx context.Context) ([]byte, error) {
	key := path.Join(s.cfg.Prefix, "config")
	var val []byte
	err := s.ask(ctx, "read "+key, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, key)
		if err == nil && len(resp.Kvs) > 0 {
			val = resp.Kvs[0].Value
		}
		return err
	})
	if err == nil && val == nil {
		err = fmt.Errorf("read %s: no such key in etcd; write the network configuration there, for example: "+
			`%s put %s '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'`, key, s.etcdctl(), key)
	}
	if err != nil {
		return nil, err
	}
	return val, nil
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
