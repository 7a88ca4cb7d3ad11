// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/percale-net/percale/backend/hostgw"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/subnet"
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
