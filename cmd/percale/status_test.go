// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
)

var update = flag.Bool("update", false, "rewrite testdata")

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func healthy() status.Status {
	return status.Status{
		Node: "n3", Version: "v1", PID: 77, Goroutines: 25, MemoryBytes: 18 << 20, Started: noon.Add(-14 * 24 * time.Hour), Ready: true, Backend: "vxlan",
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.244.3.0/24")}, Expires: noon.Add(23 * time.Hour),
		Told: []netip.Prefix{netip.MustParsePrefix("10.244.3.0/24")},
		Uplink: status.Uplink{
			Name: "eth0", MTU: 1500, Why: "default route via 192.0.2.1 (metric 100)",
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.3")}, Published: []netip.Addr{netip.MustParseAddr("203.0.113.3")},
		},
		Devices: []status.Device{{Name: "flannel.1", VNI: 1, Port: 8472, MAC: "02:00:00:00:00:03", MTU: 1450}},
		PodMTU:  1450,
		Addresses: []status.Addresses{
			{Subnet: netip.MustParsePrefix("10.244.3.0/24"), Used: 205, Total: 253, Stale: 12, Resting: 4, FullAt: noon.Add(3 * time.Hour)},
			{Subnet: netip.MustParsePrefix("fd00:10:244:3::/64"), Used: 205, Total: 1<<64 - 2},
		},
		Sysctls:  []string{"net/ipv4/ip_forward=1", "net/ipv6/conf/flannel.1/accept_ra=0"},
		Peers:    status.PeerCount{Wanted: 4998, Programmed: 4998},
		Store:    status.Store{Kind: "etcd", Synced: true, At: noon.Add(-90 * time.Second)},
		Kernel:   status.Rounds{Count: 12, Last: noon.Add(-9 * time.Second), Took: 41 * time.Millisecond, LastRepair: status.Repair{At: noon.Add(-50 * time.Hour), What: "set 1 route"}},
		Firewall: status.Firewall{Mode: "nftables", InSync: true, Rounds: status.Rounds{Count: 3, Last: noon.Add(-9 * time.Second), Took: 900 * time.Microsecond}},
		Guards:   status.Guards{Tunnel: "on", Origins: 6, Refused: 2, Pods: 5, Dropped: map[string]uint64{"redirect": 1}},
	}
}

func broken() status.Status {
	s := healthy()
	s.Ready, s.Waiting = false, "kernel: set route 10.244.9.0/24: network is unreachable"
	s.Store.Error, s.Store.AwaySince = "no answer from http://192.0.2.1:2379", noon.Add(-5*time.Minute)
	s.Problems = []status.Problem{
		{Part: "kernel", Seen: "set route 10.244.9.0/24: network is unreachable", Since: noon.Add(-3 * time.Second)},
		{Part: "firewall", Seen: "two things:\none more", Since: noon},
	}
	s.Refused = []status.Refusal{{Lease: "10.244.8.0/24", Node: "evil\x1b[2J", Reason: "VNI 2: this node uses 1"}}
	s.Notes = []string{"br_netfilter is off."}
	s.Kernel.Repairs = status.Repairs{Repaired: 9, Fights: 1, Entries: []status.RepairCount{
		{Kind: network.LinkEntry, Cause: network.Changed, Count: 1}, {Kind: network.RouteEntry, Cause: network.Missing, Count: 12}},
		Fight: &status.Fight{Since: noon, Who: "process 812 (bird)", Entries: []status.Contested{
			{Kind: network.RouteEntry, Name: "10.244.2.0/24", Cause: network.Changed, Times: 23, Found: "dev eth0 proto bird (12)"}}}}
	s.Firewall.Repairs = status.Repairs{Repaired: 2, Entries: []status.RepairCount{{Kind: network.RulesEntry, Cause: network.Missing, Count: 2}}}
	return s
}

func TestPrintStatus(t *testing.T) {
	for name, s := range map[string]status.Status{
		"healthy": healthy(), "broken": broken(),
		"cached": {Node: "n4", Version: "v1", PID: 78, Started: noon, Ready: true,
			Subnets: []netip.Prefix{netip.MustParsePrefix("10.244.4.0/24")},
			Store:   status.Store{Kind: "etcd", Cached: true, At: noon.Add(-12 * time.Minute), Error: "no answer from http://192.0.2.1:2379"}},
		"kubernetes": {Node: "n5", Version: "v1", PID: 79, Started: noon, Ready: true, Backend: "vxlan",
			Subnets: []netip.Prefix{netip.MustParsePrefix("10.244.5.0/24")},
			Kubernetes: status.Kubernetes{Source: status.FromPodCIDR, Conditions: []status.Condition{
				{Type: "NetworkUnavailable", Status: "True", Reason: "FirewallRefuses"}, {Type: "PodSubnetExhausted", Status: "False", Reason: "PodSubnetNearlyFull"}}},
			Store:    status.Store{Kind: "kube", Synced: true, Error: "one line\nanother", AwaySince: noon.Add(-time.Minute)},
			Problems: []status.Problem{{Part: "store", Seen: "one line\nanother", Since: noon.Add(-time.Minute)}}},
		"starting": {Node: "n3", Version: "v1", PID: 77, Started: noon, Waiting: "reading leases from etcd", Store: status.Store{Kind: "etcd"}},
	} {
		var out bytes.Buffer
		printStatus(&out, s, noon)
		golden(t, name, out.String())
		for _, line := range strings.Split(out.String(), "\n") {
			if len(line) > 100 {
				t.Errorf("%s: line of %d columns: %s", name, len(line), line)
			}
		}
	}
}

// Only a reservation is for ever.
func TestLasting(t *testing.T) {
	lost := []status.Problem{{Part: "lease", Seen: "another node holds the subnet"}}
	for want, s := range map[string]status.Status{
		"for ever":                   {Store: status.Store{Synced: true}},
		"for 23h00m unless renewed":  healthy(),
		"not confirmed by the store": {Store: status.Store{Synced: true}, Problems: lost},
		"as long as the Node is":     {Store: status.Store{Kind: status.Kube, Synced: true}},
		"leased by this node itself, as long as its Node is": {Kubernetes: status.Kubernetes{Source: status.FromLease}},
		"kept while pods live in it":                         {Kubernetes: status.Kubernetes{Source: status.FromBefore}},
	} {
		if got := lasting(s, noon); got != want {
			t.Errorf("lasting = %q; want %q", got, want)
		}
	}
}

func TestPrintPeers(t *testing.T) {
	var out bytes.Buffer
	printPeers(&out, []status.Peer{
		{Node: "n1", Subnets: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}, Uplinks: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Path: "direct", Programmed: true},
		{Node: "n2", Subnets: []netip.Prefix{netip.MustParsePrefix("10.244.2.0/24")}, Uplinks: []netip.Addr{netip.MustParseAddr("198.51.100.2")}, Path: "tunnel", Error: "route 10.244.2.0/24: no"},
	})
	golden(t, "peers", out.String())
}

// The names in the JSON are an interface: scripts read them.
func TestStatusJSON(t *testing.T) {
	b, err := json.MarshalIndent(broken(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "json", string(b)+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}
