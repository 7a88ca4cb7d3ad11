// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// TestEtcdFaults makes etcd fail in each way, and looks that it does so, and
// that it comes back.
func TestEtcdFaults(t *testing.T) {
	t.Parallel()
	l := labtest.Up(t, lab.Spec{Nodes: 1})
	client, err := l.Etcd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	within := func(long time.Duration, value string) error {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		_, err := client.Put(ctx, "a", value)
		return err
	}
	put := func(value string) error { return within(time.Minute, value) }
	get := func(opts ...clientv3.OpOption) (string, error) {
		r, err := client.Get(t.Context(), "a", opts...)
		if err != nil || len(r.Kvs) == 0 {
			return "", err
		}
		return string(r.Kvs[0].Value), nil
	}
	ok(t, put("old"), l.BackupEtcd("one"), put("new"))

	ok(t, l.PauseEtcd())
	if err := within(time.Second, "paused"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put to a paused etcd = %v; want no answer", err)
	}
	ok(t, l.ResumeEtcd(), put("new"))

	first, err := client.Get(t.Context(), "a")
	ok(t, err, put("new"), l.CompactEtcd(t.Context()))
	if _, err := get(clientv3.WithRev(first.Header.Revision - 1)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("what etcd was to forget: %v; want %v", err, rpctypes.ErrCompacted)
	}
	ok(t, l.RestoreEtcd(t.Context(), "one"))
	if v, err := get(); v != "old" || err != nil {
		t.Errorf("the backup has %q, %v; want what was there when it was made", v, err)
	}
	ok(t, l.WipeEtcd(t.Context()))
	if v, err := get(); v != "" || err != nil {
		t.Errorf("the emptied etcd has %q, %v", v, err)
	}
}

// TestLoseEtcd cuts one node off, and not the other.
func TestLoseEtcd(t *testing.T) {
	t.Parallel()
	l := labtest.Up(t, lab.Spec{Nodes: 2, NoWait: true})
	one, two := l.Node(1), l.Node(2)
	ok(t, reaches(one, time.Minute), reaches(two, time.Minute), one.LoseEtcd(), reaches(two, time.Minute))
	if err := reaches(one, 300*time.Millisecond); err == nil {
		t.Error("a node that has lost etcd reaches it")
	}
	ok(t, one.FindEtcd(), reaches(one, time.Minute))
}

// reaches dials etcd from a node, for so long at most.
func reaches(n *lab.Node, long time.Duration) error {
	return n.NS().Do(func() error {
		conn, err := net.DialTimeout("tcp", "192.168.77.1:2379", long)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func ok(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
