// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/status"
)

// outage is how long the API server is away.
const outage = time.Minute

// away is a cluster that loses its API server. Its pods are to notice nothing,
// not even when an agent starts meanwhile; and what is new is to be learned when
// the server is back.
func away(t *testing.T, k *cluster) {
	kept, restarted := k.Node(1), k.Node(2).Agent(0)
	pid := process(t, kept)
	back := time.NewTimer(outage)
	defer back.Stop()
	must(t, k.KillKube(t.Context()))
	must(t, errors.Join(restarted.Kill(t.Context()), restarted.Start()))
	for _, n := range k.Nodes() {
		await(t, n, func(s status.Status) error {
			if !s.Ready || s.Peers.Programmed != 1 || s.Store.Error == "" {
				return fmt.Errorf("%s without API server: ready %t, waiting for %q, peers programmed %d, store's error %q; want ready with 1, and an error",
					n.Name(), s.Ready, s.Waiting, s.Peers.Programmed, s.Store.Error)
			}
			return nil
		})
	}
	labtest.Prove(t, k.Lab)
	select {
	case <-back.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	labtest.Prove(t, k.Lab)
	must(t, k.StartKube(t.Context()))
	joins(t, k)
	for _, n := range k.Nodes() {
		await(t, n, func(s status.Status) error {
			if s.Store.Error != "" || s.Store.Cached {
				return fmt.Errorf("%s: store's error %q, cached %t; want neither", n.Name(), s.Store.Error, s.Store.Cached)
			}
			return nil
		})
	}
	if now := process(t, kept); now != pid {
		t.Errorf("the agent of n1 was process %d and is %d; want no restart", pid, now)
	}
}
