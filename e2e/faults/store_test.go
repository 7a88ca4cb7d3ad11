// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// away is how long etcd is out of reach.
const away = 1500 * time.Millisecond

// storeNotYet is notYet for the faults below.
var storeNotYet = map[string]string{}

// storeFaults lists what befalls etcd, or the way there. After each the victim
// must still learn what is new.
var storeFaults = []fault{
	{name: "etcd stopped", follows: true, inject: onEtcd((*lab.Lab).StopEtcd, (*lab.Lab).StartEtcd)},
	{name: "etcd paused", follows: true, inject: onEtcd(
		func(l *lab.Lab, _ context.Context) error { return l.PauseEtcd() },
		func(l *lab.Lab, _ context.Context) error { return l.ResumeEtcd() })},
	{name: "cut off, etcd compacted", follows: true, inject: compactMeanwhile},
	{name: "all nodes cut off", follows: true, inject: onEtcd(onNodes((*lab.Node).LoseEtcd), onNodes((*lab.Node).FindEtcd))},
	{name: "agent killed, started without etcd", follows: true, restarts: true, inject: startWithout((*lab.Lab).StopEtcd, (*lab.Lab).StartEtcd)},
	{name: "own lease deleted", follows: true, inject: deleteLease("n1")},
	{name: "peer's lease deleted", follows: true, inject: deleteLease("n2")},
	{name: "etcd lease of ours revoked", follows: true, inject: revokeLease},
	{name: "etcd restored from before the peer joined", follows: true, inject: restoreEtcd},
	{name: "etcd emptied", follows: true, inject: emptyEtcd},
	{name: "etcd restored while the peer hangs", follows: true, inject: whilePeerHangs(restoreEtcd), undo: restartPeer},
	{name: "etcd emptied while the peer hangs", follows: true, inject: whilePeerHangs(emptyEtcd), undo: restartPeer},
}

// TestStoreFaults runs them in one mode: what they break is the same in all.
func TestStoreFaults(t *testing.T) {
	t.Parallel()
	suite{storeFaults, modes[1:2], storeNotYet}.run(t)
}

// onEtcd breaks something, and mends it a little later.
func onEtcd(breaks, mends func(*lab.Lab, context.Context) error) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		must(t, breaks(v.lab, t.Context()))
		wait(t, away)
		must(t, mends(v.lab, t.Context()))
	}
}

func onNodes(do func(*lab.Node) error) func(*lab.Lab, context.Context) error {
	return func(l *lab.Lab, _ context.Context) error {
		var errs []error
		for _, n := range l.Nodes() {
			errs = append(errs, do(n))
		}
		return errors.Join(errs...)
	}
}

// compactMeanwhile lets etcd forget what the victim missed.
func compactMeanwhile(t *testing.T, v *victim) {
	t.Helper()
	must(t, v.node.LoseEtcd())
	for i := range 20 {
		v.etcd(t, func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Put(ctx, v.lab.Spec().EtcdPrefix(0)+"/other", fmt.Sprint(i))
			return err
		})
	}
	must(t, v.lab.CompactEtcd(t.Context()))
	wait(t, away)
	must(t, v.node.FindEtcd())
}

// startWithout takes the store away, and wants an agent that starts to work by
// what it knew, and to say so.
func startWithout(stop, start func(*lab.Lab, context.Context) error) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		must(t, stop(v.lab, t.Context()))
		restart(t, v, v.node.Agent(0).Kill)
		v.wrong = errors.Join(v.wrong, eventually(t, patient, func() error {
			s, err := v.node.Agent(0).Status(t.Context())
			if err != nil {
				return err
			}
			if !s.Ready || s.Peers.Programmed < 1 { // one that ended just before may not be forgotten on disk
				return fmt.Errorf("without its store: ready %t, waiting for %q, peers programmed %d; want ready with a peer",
					s.Ready, s.Waiting, s.Peers.Programmed)
			}
			out, _ := v.node.NS().Output(filepath.Join(labtest.Bin(t), "percale"), "--run-dir="+v.node.Agent(0).RunDir(), "status")
			if !strings.Contains(out, "cached") {
				return fmt.Errorf("percale status without a store:\n%s\nwant it to say that leases are cached", out)
			}
			return nil
		}))
		must(t, start(v.lab, t.Context()))
	}
}

// deleteLease deletes the lease of a node, whose agent is to publish it anew.
func deleteLease(node string) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		v.etcd(t, func(ctx context.Context, c *clientv3.Client) error {
			kv, err := leaseOf(ctx, c, v.lab, node)
			if err == nil {
				_, err = c.Delete(ctx, string(kv.Key))
			}
			return err
		})
	}
}

// revokeLease ends what etcd bound our key to, and so deletes it.
func revokeLease(t *testing.T, v *victim) {
	t.Helper()
	v.etcd(t, func(ctx context.Context, c *clientv3.Client) error {
		kv, err := leaseOf(ctx, c, v.lab, v.node.Name())
		if err == nil {
			_, err = c.Revoke(ctx, clientv3.LeaseID(kv.Lease))
		}
		return err
	})
}

// restoreEtcd brings back what etcd held before the peer was there.
func restoreEtcd(t *testing.T, v *victim) {
	t.Helper()
	must(t, v.lab.RestoreEtcd(t.Context(), alone))
}

// emptyEtcd loses all that etcd holds. After a while an operator writes the
// network configuration again.
func emptyEtcd(t *testing.T, v *victim) {
	t.Helper()
	must(t, v.lab.WipeEtcd(t.Context()))
	wait(t, away)
	conf, err := v.lab.Spec().NetConf(0)
	must(t, err)
	v.etcd(t, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, v.lab.Spec().EtcdPrefix(0)+"/config", string(conf))
		return err
	})
}

// whilePeerHangs keeps the peer's agent from publishing its lease anew at once,
// as one does that waits for etcd longer than others.
func whilePeerHangs(inject func(*testing.T, *victim)) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		must(t, v.lab.Node(2).Agent(0).Pause())
		inject(t, v)
		wait(t, away)
		must(t, v.lab.Node(2).Agent(0).Resume())
	}
}

func restartPeer(t *testing.T, v *victim) {
	t.Helper()
	a := v.lab.Node(2).Agent(0)
	must(t, errors.Join(a.Kill(t.Context()), a.Start()))
}

// follow reports as an error that the victim does not learn of a new peer, or
// not of its end. As long as its own lease is missing, it would doubt an end.
func (v *victim) follow(t *testing.T) error {
	t.Helper()
	if v.lab.Spec().Store == lab.StoreKube {
		return v.followNodes(t)
	}
	must(t, eventually(t, patient, func() (err error) {
		v.etcd(t, func(ctx context.Context, c *clientv3.Client) error {
			_, err = leaseOf(ctx, c, v.lab, v.node.Name())
			return nil
		})
		return err
	}))
	key := v.lab.Spec().EtcdPrefix(0) + "/subnets/10.244.255.0-24"
	change := func(what string, op clientv3.Op) error {
		v.etcd(t, func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Do(ctx, op)
			return err
		})
		return v.routed(t, what, op.IsPut())
	}
	value := `{"PublicIP":"192.168.77.250","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"26:1b:00:00:00:ff"}}`
	return errors.Join(change("a new lease", clientv3.OpPut(key, value)), change("its end", clientv3.OpDelete(key)))
}

// routed waits until the victim has a route to the new peer, or none.
func (v *victim) routed(t *testing.T, what string, want bool) error {
	t.Helper()
	return eventually(t, patient, func() error {
		if there := run(t, v.node.NS(), "ip -4 route show 10.244.255.0/24") != ""; there != want {
			return fmt.Errorf("%s does not reach the node", what)
		}
		return nil
	})
}
