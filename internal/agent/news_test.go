// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/subnet"
)

func leaseOf(node, prefix string) subnet.Lease {
	return subnet.Lease{Node: node, Backend: "vxlan", V4: subnet.Endpoint{Subnet: netip.MustParsePrefix(prefix)}}
}

// A store that is emptied, and then away for long, as while its operator looks
// for a backup, has not confirmed that its leases are gone.
func TestDoubtEndsOnlyWhileTheStoreIsThere(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		own, peer := leaseOf("me", "10.42.1.0/24"), leaseOf("peer", "10.42.2.0/24")
		a := New(config.Settings{NodeName: "me", RunDir: dir}, "test", slog.New(slog.DiscardHandler))
		a.belief = subnet.NewBelief(nil)
		a.facts.update(func(v *view) { v.lease, v.held = own, true })
		round := func() time.Duration {
			t.Helper()
			again, err := a.newsRound(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
		expect := func(when string, peers int) {
			t.Helper()
			if got := len(a.facts.view().snapshot.Leases); got != peers {
				t.Fatalf("%s: %d leases; want %d", when, got, peers)
			}
		}

		a.news.tell(subnet.Snapshot{Leases: []subnet.Lease{own, peer}})
		round()
		a.news.tell(subnet.Snapshot{})
		if again := round(); again != 10*time.Minute {
			t.Errorf("looks again in %v; want 10m", again)
		}
		expect("emptied", 1)

		time.Sleep(4 * time.Minute)
		a.storeFault(errors.New("gone"))
		time.Sleep(time.Hour)
		if again := round(); again != 0 {
			t.Errorf("looks again in %v while the store is away; want never", again)
		}
		expect("away for an hour", 1)

		a.storeFault(nil)
		if again := round(); again != 6*time.Minute {
			t.Errorf("looks again in %v; want the 6m that are left", again)
		}
		expect("back", 1)
		time.Sleep(6 * time.Minute)
		round()
		expect("confirmed", 0)
	})
}
