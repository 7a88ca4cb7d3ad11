// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/internal/lab"
)

// etcd passes do a client of the victim's lab, for a request or few.
func (v *victim) etcd(t *testing.T, do func(context.Context, *clientv3.Client) error) {
	t.Helper()
	must(t, withEtcd(t.Context(), v.lab, do))
}

func withEtcd(ctx context.Context, l *lab.Lab, do func(context.Context, *clientv3.Client) error) error {
	c, err := l.Etcd()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	return do(ctx, c)
}

// leases returns all leases that etcd has.
func leases(ctx context.Context, c *clientv3.Client, l *lab.Lab) ([]*mvccpb.KeyValue, error) {
	r, err := c.Get(ctx, l.Spec().EtcdPrefix(0)+"/subnets/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	return r.Kvs, nil
}

// leaseOf returns the lease of a node, by name.
func leaseOf(ctx context.Context, c *clientv3.Client, l *lab.Lab, node string) (*mvccpb.KeyValue, error) {
	all, err := leases(ctx, c, l)
	if err != nil {
		return nil, err
	}
	for _, kv := range all {
		var value struct{ Node string }
		if err := json.Unmarshal(kv.Value, &value); err == nil && value.Node == node {
			return kv, nil
		}
	}
	return nil, fmt.Errorf("etcd has no lease of %s among %d", node, len(all))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
