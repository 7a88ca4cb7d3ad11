// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// sysctls returns a state with the settings, given as path, value, path, value.
func sysctls(words ...string) network.State {
	s := network.NewState()
	for i := 0; i < len(words); i += 2 {
		s.Sysctls[words[i]] = network.Sysctl{Path: words[i], Value: words[i+1]}
	}
	return s
}

func TestForwardingSparesTheUplinksAdvertisedRoutes(t *testing.T) {
	ra := acceptRA("eth0")
	for _, tt := range []struct {
		name string
		have network.State
		want string // of accept_ra, "" to leave it
	}{
		{"about to forward, with advertised routes", sysctls(forward6, "0", ra, "1"), "2"},
		{"takes none", sysctls(forward6, "0", ra, "0"), ""},
		{"takes them always", sysctls(forward6, "0", ra, "2"), ""},
		{"forwards already", sysctls(forward6, "1", ra, "1"), ""},
		{"no IPv6", sysctls(), ""},
	} {
		a := &Agent{conf: config.NetConf{Pools: subnet.Pools{V6: subnet.Pool{Network: netip.MustParsePrefix("fd42::/48")}}}}
		want := network.NewState()
		a.addForwarding(want, network.Uplink{Name: "eth0"})
		got := feasible(want, tt.have)
		if got.Sysctls[ra].Value != tt.want {
			t.Errorf("%s: accept_ra wanted %q; want %q", tt.name, got.Sysctls[ra].Value, tt.want)
		}
		if _, forwards := got.Sysctls[forward6]; forwards != hasIPv6(tt.have) {
			t.Errorf("%s: forwarding wanted: %t; want %t", tt.name, forwards, hasIPv6(tt.have))
		}
	}
}

func TestMovedFrom(t *testing.T) {
	at := func(s string) subnet.Lease {
		return subnet.Lease{V4: subnet.Endpoint{Subnet: netip.MustParsePrefix(s)}}
	}
	if err := movedFrom(subnet.Lease{}, at("10.42.1.0/24")); err != nil {
		t.Errorf("a first subnet is a move: %v", err)
	}
	if err := movedFrom(at("10.42.1.0/24"), at("10.42.1.0/24")); err != nil {
		t.Errorf("the same subnet is a move: %v", err)
	}
	if err := movedFrom(at("10.42.1.0/24"), at("10.42.2.0/24")); err == nil {
		t.Error("another subnet is no move")
	}
}

func TestUntilNextNeverWaitsForARenewalAlone(t *testing.T) {
	if got := untilNext(time.Time{}); got != period {
		t.Errorf("a reservation is looked at after %v; want %v", got, period)
	}
	if got := untilNext(time.Now().Add(23 * time.Hour)); got != period {
		t.Errorf("a fresh lease is looked at after %v; want %v", got, period)
	}
	if got := untilNext(time.Now().Add(-time.Hour)); got != time.Second {
		t.Errorf("an overdue lease is looked at after %v; want a second", got)
	}
}

func TestBlackholeGivesWayToTheBridge(t *testing.T) {
	a := &Agent{settings: config.Settings{IPBlackholeRoute: true}}
	self := backend.Self{
		Pools: subnet.Pools{V6: subnet.Pool{Network: netip.MustParsePrefix("fd42::/48"), Len: 64}},
		Lease: subnet.Lease{V6: subnet.Endpoint{Subnet: netip.MustParsePrefix("fd42:0:0:7::/64")}},
	}
	want := network.NewState()
	a.addBlackholes(want, self)
	const bridge = 256 // metric of the kernel's own IPv6 routes (IP6_RT_PRIO_ADDRCONF)
	for _, r := range want.Routes {
		if !r.Blackhole || r.Metric <= bridge {
			t.Errorf("route %+v; want a blackhole with a metric above %d", r, bridge)
		}
	}
	if len(want.Routes) != 1 {
		t.Errorf("routes = %v; want one", want.Routes)
	}
}
