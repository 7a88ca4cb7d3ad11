// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/internal/lab"
)

const (
	churnPeers = 200
	churnEvery = 20 * time.Millisecond
)

// A churn puts, changes and deletes leases of peers that do not exist.
type churn struct {
	lab    *lab.Lab
	leases *sync.Mutex // held during a change
	rand   *rand.Rand
	taken  map[string]bool // subnets of nodes that do exist, IPv4
	done   atomic.Int64    // changes made
}

func newChurn(ctx context.Context, of *ring, r *rand.Rand) (*churn, error) {
	all, err := readPublished(ctx, of.lab)
	c := &churn{lab: of.lab, leases: &of.leases, rand: r, taken: make(map[string]bool)}
	for _, p := range all {
		c.taken[p.ends[0].subnet.String()] = true
	}
	return c, err
}

// key returns the key of a peer, and false if a node has its subnet.
func (c *churn) key(peer int) (string, bool) {
	k := 20 + peer
	return fmt.Sprintf("%s/subnets/10.244.%d.0-24&fd00:10:244:%x::-64", c.lab.Spec().EtcdPrefix(0), k, k),
		!c.taken[fmt.Sprintf("10.244.%d.0/24", k)]
}

// change returns the next change.
func (c *churn) change() clientv3.Op {
	for {
		peer := c.rand.IntN(churnPeers)
		key, free := c.key(peer)
		switch {
		case !free:
		case c.rand.IntN(3) == 0:
			return clientv3.OpDelete(key)
		default:
			// A MAC has its peer's number in it, so that no two peers have one.
			mac := fmt.Sprintf("%%02x:%02x:%02x:%02x:00:%02x", c.rand.IntN(256), c.rand.IntN(256), c.rand.IntN(256), peer)
			return clientv3.OpPut(key, fmt.Sprintf(`{"PublicIP":"172.16.%d.%d","PublicIPv6":"2001:db8:%x::%x","BackendType":"vxlan",`+
				`"BackendData":{"VNI":1,"VtepMAC":"`+mac+`"},"BackendV6Data":{"VNI":1,"VtepMAC":"`+mac+`"},"Node":"x%d"}`,
				c.rand.IntN(256), 1+c.rand.IntN(254), c.rand.IntN(65536), 1+c.rand.IntN(65535), 0x26, 0x36, peer))
		}
	}
}

// run makes changes until ctx ends. While etcd is away none are made.
func (c *churn) run(ctx context.Context) error {
	client, err := c.lab.Etcd()
	if err != nil {
		return err
	}
	defer client.Close()
	tick := time.NewTicker(churnEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.once(ctx, client)
		}
	}
}

// once makes a change.
func (c *churn) once(ctx context.Context, client *clientv3.Client) {
	c.leases.Lock()
	defer c.leases.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := client.Do(ctx, c.change()); err == nil {
		c.done.Add(1)
	}
}

// end deletes every lease that run may have left.
func (c *churn) end(ctx context.Context) error {
	return withEtcd(ctx, c.lab, func(ctx context.Context, client *clientv3.Client) error {
		for peer := range churnPeers {
			if key, free := c.key(peer); free {
				if _, err := client.Delete(ctx, key); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
