// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet"
)

// up is the status of an agent that is through with everything.
func up() status.Status {
	return status.Status{
		Backend:  "vxlan",
		Subnets:  []netip.Prefix{netip.MustParsePrefix("10.42.1.0/24")},
		Told:     []netip.Prefix{netip.MustParsePrefix("10.42.1.0/24")},
		Peers:    status.PeerCount{Wanted: 2, Programmed: 2},
		Store:    status.Store{Kind: "etcd", Synced: true},
		Kernel:   status.Rounds{Count: 1},
		Firewall: status.Firewall{Mode: "nftables", InSync: true},
	}
}

func TestWaiting(t *testing.T) {
	fault := func(part string) func(*status.Status) {
		return func(s *status.Status) { s.Fault(part, errors.New("no"), time.Time{}) }
	}
	tests := []struct {
		name string
		edit func(*status.Status)
		want string
	}{
		{"all is well", func(*status.Status) {}, ""},
		{"no configuration yet", func(s *status.Status) { s.Backend = "" }, "reading the network configuration from etcd"},
		{"no snapshot yet", func(s *status.Status) { s.Store.Synced = false }, "reading leases from etcd"},
		{"store away at start", func(s *status.Status) { s.Store.Synced = false; fault(partStore)(s) }, "store: no"},
		{"store away later", fault(partStore), ""},
		{"no lease yet", func(s *status.Status) { s.Subnets = nil }, "leasing a subnet"},
		{"no free subnet", func(s *status.Status) { s.Subnets = nil; fault(partLease)(s) }, "lease: no"},
		{"lease not renewed", fault(partLease), ""},
		{"no round yet", func(s *status.Status) { s.Kernel.Count = 0 }, "programming the kernel"},
		{"round failed", fault(partKernel), "kernel: no"},
		{"no uplink", fault(partUplink), "uplink: no"},
		{"no rules yet", func(s *status.Status) { s.Firewall.InSync = false }, "writing firewall rules"},
		{"a peer that the kernel refuses", fault("peers"), ""},
		{"plugins told of another subnet", func(s *status.Status) { s.Told = nil },
			"telling CNI plugins of the subnet"},
		{"subnet.env not written", fault(partEnv), "subnet.env: no"},
		{"net-conf made unreadable later", fault(partNetConf), ""},
		{"health port taken", fault("health server"), ""},
	}
	for _, tt := range tests {
		s := up()
		tt.edit(&s)
		if got := waiting(s); got != tt.want {
			t.Errorf("%s: waiting = %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestPeersOfTiesFailuresToPeers(t *testing.T) {
	peer := func(n byte) backend.Peer {
		dst := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, n, 0}), 24)
		return backend.Peer{
			Lease:   subnet.Lease{Node: "n" + string('0'+n), V4: subnet.Endpoint{Subnet: dst}},
			Entries: backend.Entries{Routes: []network.Route{{Dst: dst, Metric: uint32(n)}}},
		}
	}
	r := result{plan: backend.Plan{Peers: []backend.Peer{peer(2), peer(3)}}}
	programmed := func(r result) (names []string) {
		for _, p := range peersOf(r) {
			if p.Programmed {
				names = append(names, p.Node)
			}
		}
		return names
	}
	if got := programmed(r); len(got) != 2 {
		t.Errorf("after a good round %v are programmed; want both", got)
	}
	r.err = errors.Join(&kernel.EntryError{Op: "set", Entry: peer(3).Entries.Routes[0], Err: errors.New("no")})
	if got := programmed(r); len(got) != 1 || got[0] != "n2" {
		t.Errorf("after one failed route %v are programmed; want n2 alone", got)
	}
	r.err = errors.New("read kernel: no")
	if got := programmed(r); len(got) != 0 {
		t.Errorf("after a round that read nothing %v are programmed; want none", got)
	}
}

func TestOwnDevicesStand(t *testing.T) {
	entry := func(e any) error { return &kernel.EntryError{Op: "set", Entry: e, Err: errors.New("no")} }
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"no error":         {nil, true},
		"a peer's route":   {errors.Join(entry(network.Route{})), true},
		"our own address":  {errors.Join(entry(network.Route{}), entry(network.Address{})), false},
		"our own device":   {errors.Join(entry(network.Link{})), false},
		"nothing was read": {errors.New("read kernel: no"), false},
	} {
		if got := ownDevicesStand(tt.err); got != tt.want {
			t.Errorf("%s: ownDevicesStand = %t; want %t", name, got, tt.want)
		}
	}
}
