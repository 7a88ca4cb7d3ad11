// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// A countingStore counts what is published, which never ends.
type countingStore struct {
	Store
	writes int
}

func (s *countingStore) Publish(context.Context, subnet.Lease) (time.Time, error) {
	s.writes++
	return time.Time{}, nil
}

// Two agents with one node's name, or anybody else who undoes what we publish,
// must not have the store write as fast as it can.
func TestLeaseThatIsChangedEachTimeIsWrittenLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, store := kubeAgent(t), &countingStore{}
		a.store = store
		foreign := subnet.Lease{Node: "n7", Backend: "vxlan", V4: subnet.Endpoint{Subnet: four}, V6: subnet.Endpoint{Subnet: six}}
		own := subnet.Own{Assigned: subnet.Assigned{V4: four, V6: six}}
		hear := func(leases ...subnet.Lease) {
			a.facts.update(func(v *view) {
				v.synced, v.uplink = true, network.Uplink{Name: "eth0"}
				v.snapshot = subnet.Snapshot{Own: own, Leases: leases}
			})
		}
		undone := func(d time.Duration) (err error) {
			for range d / (100 * time.Millisecond) {
				hear(foreign)
				_, err = a.leaseRound(t.Context())
				time.Sleep(100 * time.Millisecond)
			}
			return err
		}
		if err := undone(2 * time.Second); err != nil || store.writes != rewriteMost+1 { // the first is none again
			t.Errorf("leaseRound = %v after %d writes; want no word before it is known that this lasts", err, store.writes)
		}
		err := undone(rewriteSpan - 2*time.Second)
		if want := rewriteMost + 1; store.writes != want {
			t.Errorf("%d writes in %v; want %d", store.writes, rewriteSpan, want)
		}
		if !errors.Is(err, errRewritten) || !strings.Contains(err.Error(), "kubectl get node n7 -o yaml --show-managed-fields") {
			t.Errorf("leaseRound = %v; want who may be the other one", err)
		}
		hear(a.facts.view().lease)
		if _, err := a.leaseRound(t.Context()); err != nil {
			t.Errorf("leaseRound = %v once it stays", err)
		}
		time.Sleep(rewriteSpan)
		was := store.writes
		if err := undone(time.Second); err != nil || store.writes == was {
			t.Errorf("leaseRound = %v after %d writes; want it written at once after a quiet time", err, store.writes-was)
		}
	})
}
