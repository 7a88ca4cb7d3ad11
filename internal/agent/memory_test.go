// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/percale-net/percale/backend/hostgw"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/local"
)

func TestResume(t *testing.T) {
	network := netip.MustParsePrefix("10.42.0.0/16")
	v4 := subnet.Pools{V4: subnet.Pool{Network: network, Len: 24, Min: network.Addr(), Max: netip.MustParseAddr("10.42.255.0")}}
	dual := v4
	dual.V6 = subnet.Pool{Network: netip.MustParsePrefix("fd42::/48"), Len: 64}
	ours, env := leaseOf("me", "10.42.9.0/24"), leaseOf("", "10.42.1.0/24") // subnet.env names no node
	ours.Backend = "host-gw"
	for _, tt := range []struct {
		name  string
		pools subnet.Pools
		now   view
		want  string // the subnet that is held, "" for none
	}{
		{"subnet of before", v4, view{previous: env}, "10.42.1.0/24"},
		{"none of before", v4, view{}, ""},
		{"of another network", v4, view{previous: leaseOf("me", "10.9.1.0/24")}, ""},
		{"a family is new", dual, view{previous: env}, ""},
		{"one is held", v4, view{previous: env, lease: ours, held: true}, "10.42.9.0/24"},
	} {
		a := New(config.Settings{NodeName: "me"}, "test", slog.New(slog.DiscardHandler))
		a.ending.Store(true) // tells nobody
		a.backend, a.conf.Pools, a.facts.now = hostgw.Backend{}, tt.pools, tt.now
		a.resume()
		switch now := a.facts.view(); {
		case now.held != (tt.want != ""):
			t.Errorf("%s: held = %t", tt.name, now.held)
		case now.held && (now.lease.V4.Subnet.String() != tt.want || now.lease.Node != "me" || now.lease.Backend == ""):
			t.Errorf("%s: lease = %+v; want %s, of this node", tt.name, now.lease, tt.want)
		}
	}
}

// A write that took long, as on a disk that hung, does not make the next round
// take so long that the agent counts as stuck, and is restarted.
func TestSlowDiskIsNoStuckLoop(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := New(config.Settings{NodeName: "me", StateDir: dir}, "test", slog.New(slog.DiscardHandler))
		a.ending.Store(true) // tells nobody
		a.facts.now = view{synced: true}
		a.saved = saved{at: time.Now(), took: time.Minute}
		began := time.Now()
		if _, err := a.cacheRound(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > stuckAfter/2 {
			t.Errorf("the round took %v; a loop is stuck after %v", took, stuckAfter)
		}
	})
}

// Whoever removes or cuts what is on disk finds it again a while later.
func TestCacheIsWrittenAnew(t *testing.T) {
	dir, own := t.TempDir(), leaseOf("me", "10.42.1.0/24")
	a := New(config.Settings{NodeName: "me", StateDir: dir}, "test", slog.New(slog.DiscardHandler))
	a.ending.Store(true) // tells nobody
	a.facts.now = view{synced: true, held: true, lease: own, snapshot: subnet.Snapshot{Leases: []subnet.Lease{own}}}
	for _, damage := range []func(string) error{
		func(string) error { return nil }, // as after the first start
		os.Remove,
		func(path string) error { return os.Truncate(path, 10) },
	} {
		if err := damage(filepath.Join(dir, "lease.json")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.cacheRound(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := local.LoadLease(dir, "me"); err != nil || got != own {
			t.Errorf("lease on disk = %+v, %v; want %+v", got, err, own)
		}
	}
	if known, err := local.LoadPeers(dir, "me", a.storeName()); err != nil || len(known.Leases) != 1 {
		t.Errorf("peers on disk = %+v, %v; want one lease", known, err)
	}
	a.settings.StateDir = filepath.Join(dir, "lease.json", "x")
	if _, err := a.cacheRound(t.Context()); err == nil || !strings.Contains(err.Error(), "df "+a.settings.StateDir) {
		t.Errorf("cannot be written: %v; want what helps", err)
	}
}
