// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

var _ subnet.Store = (*Store)(nil)

const (
	requestLimit = 10 * time.Second // for one request, dialling included
	dialLimit    = 5 * time.Second
	usualPrefix  = "flannel.alpha.coreos.com"
	usualPlace   = "kube-percale"
	leasesPeriod = 30 * time.Second // how often the Lease objects are read while we look for a free subnet
	retry        = 5 * time.Second
)

// Config says which cluster to use and how.
type Config struct {
	Client    *rest.Config
	Node      string // ours
	Prefix    string // of flannel's annotations; "": flannel.alpha.coreos.com
	Namespace string // of our Lease objects; "": kube-percale

	// Own is told of our own Node object, first when it is known and then at
	// each change, from within Watch; nil: nobody is.
	Own func(nodes.Own)

	// Look is nodes.Records.Every, and about how often it is checked that the
	// Lease objects of subnets that we chose are there; 0: every ten minutes.
	Look time.Duration

	Expect int          // how many Nodes there may be; see nodes.Config
	Log    *slog.Logger // nil: slog's default
}

// A Store keeps one node's lease on its Node object, and reads those of the
// others. It connects when it is first used.
type Store struct {
	cfg    Config
	keys   keys
	log    *slog.Logger
	client *rest.RESTClient
	config *rest.Config // of client, and of the watches
	dialer *connrotation.Dialer
	wake   chan struct{} // holds a token when Watch has to look again

	mu        sync.Mutex
	losses    int    // how often Publish missed what it had published
	held      bool   // our Node bore what we published when we looked last
	holder    string // UID of that Node; "": it did not, since the agent's start
	lost      bool   // a Lease object that made its subnet ours is gone
	pending   bool   // our Node waits for a pod CIDR, as far as Watch knows
	stale     bool   // the Lease objects have changed since Watch read them
	contended bool   // a subnet that we chose was another's; until we have one
}

// Open returns a store. It asks no server, so that it never blocks: one that is
// out of reach shows in the methods' errors.
func Open(cfg Config) (*Store, error) {
	if cfg.Node == "" {
		return nil, errors.New("open Kubernetes store: no node name given; set --node-name or NODE_NAME")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = usualPrefix
	}
	if cfg.Namespace == "" {
		cfg.Namespace = usualPlace
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	k, err := newKeys(cfg.Prefix)
	if err != nil {
		return nil, fmt.Errorf("open Kubernetes store: %w", err)
	}
	s := &Store{cfg: cfg, keys: k, log: cfg.Log, wake: make(chan struct{}, 1)}
	if err := s.connect(); err != nil {
		return nil, fmt.Errorf("open Kubernetes store: %w", err)
	}
	return s, nil
}

// Reconnect gives the connections up; the next request makes new ones. Call it
// when an address of this node has changed: TCP would wait for answers to an
// address that is gone.
func (s *Store) Reconnect() { s.dialer.CloseAll() }

// ask runs one request with its time limit, and explains its error.
func (s *Store) ask(ctx context.Context, what string, request func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	err := request(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return s.explain(what, err)
}

// kick has Watch look again soon.
func (s *Store) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
