// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/kubetest"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/storetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// TestSuite has agents of a cluster without pod CIDRs do what every Store must
// bear, against a real API server.
func TestSuite(t *testing.T) {
	server := kubetest.Shared(t)
	storetest.Run(t, func(t *testing.T) subnet.Store { return newFleet(t, server) })
}

// A fleet is all agents of one test's cluster, seen as one Store. Clusters share
// an API server, so each has annotations, a namespace and Node names of its own.
type fleet struct {
	server *kubetest.Server
	tag    string

	mu     sync.Mutex
	stores map[string]*Store // by the names that the test gives its nodes; needs mu
}

func newFleet(t *testing.T, server *kubetest.Server) *fleet {
	t.Helper()
	f := &fleet{server: server, tag: fmt.Sprintf("t%x-", sha256.Sum256([]byte(t.Name())))[:9] + "-", stores: make(map[string]*Store)}
	manifest := fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %sleases}\n", f.tag)
	if err := server.Apply(t.Context(), []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	return f
}

// agent returns the store of a node, whose Node object is made if there is none.
func (f *fleet) agent(ctx context.Context, node string) (*Store, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.stores[node]; s != nil {
		return s, nil
	}
	if err := f.server.CreateNode(ctx, kubeapi.Node{Name: f.tag + node}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	s, err := f.open(node)
	f.stores[node] = s
	return s, err
}

func (f *fleet) open(node string) (*Store, error) {
	return Open(Config{Client: f.server.Admin(), Node: f.tag + node, Prefix: "test.example/" + f.tag, Namespace: f.tag + "leases"})
}

// Watch has an agent watch whose Node is not there.
func (f *fleet) Watch(ctx context.Context, fn func(subnet.Snapshot), fail func(error)) error {
	s, err := f.open("watcher")
	if err != nil {
		return err
	}
	return s.Watch(ctx, func(s subnet.Snapshot) {
		s.Leases = slices.Clone(s.Leases)
		for i := range s.Leases {
			s.Leases[i].Node = strings.TrimPrefix(s.Leases[i].Node, f.tag)
		}
		subnet.Sort(s.Leases)
		fn(s)
	}, fail)
}

func (f *fleet) Publish(ctx context.Context, own subnet.Lease) (time.Time, error) {
	if own.Node == "" {
		s, err := f.open("nobody")
		if err != nil {
			return time.Time{}, err
		}
		return s.Publish(ctx, own)
	}
	s, err := f.agent(ctx, own.Node)
	if err != nil {
		return time.Time{}, err
	}
	own.Node = f.tag + own.Node
	return s.Publish(ctx, own)
}

func (f *fleet) Release(ctx context.Context, own subnet.Lease) error {
	s, err := f.agent(ctx, own.Node)
	if err != nil {
		return err
	}
	own.Node = f.tag + own.Node
	return s.Release(ctx, own)
}
