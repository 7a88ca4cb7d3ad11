// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func TestMine(t *testing.T) {
	c := claim(dual, "@192.168.0.1", "@fd01::1")
	for _, tc := range []struct {
		name string
		l    Lease
		want bool
	}{
		{"our node", lease("n1", "10.3.1.0/24@192.168.0.9"), true},
		{"another node with our uplink", lease("n2", "10.3.1.0/24@192.168.0.1"), false},
		{"no node, our uplink", lease("", "10.3.1.0/24@192.168.0.1"), true},
		{"no node, our IPv4 uplink, another IPv6 one", lease("", "10.3.1.0/24@192.168.0.1", "fc00:0:0:1::/64@fd01::9"), true},
		{"no node, another IPv4 uplink, our IPv6 one", lease("", "10.3.1.0/24@192.168.0.9", "fc00:0:0:1::/64@fd01::1"), false},
		{"no node, our IPv6 uplink", lease("", "fc00:0:0:1::/64@fd01::1"), true},
		{"no node, no uplink", lease("", "10.3.1.0/24"), false},
		{"no node, unspecified uplink", lease("", "10.3.1.0/24@0.0.0.0"), false},
		{"zero", Lease{}, false},
	} {
		if got := Mine(c, tc.l); got != tc.want {
			t.Errorf("%s: Mine = %v; want %v", tc.name, got, tc.want)
		}
	}
	for _, bare := range []Claim{{Node: "n1"}, claim(dual, "@0.0.0.0", "@::")} {
		for _, l := range []Lease{lease("", "10.3.1.0/24"), lease("", "10.3.1.0/24@0.0.0.0"), lease("", "fc00:0:0:1::/64@::")} {
			if Mine(bare, l) {
				t.Errorf("Mine(%v, %v) without addresses; want false", bare, l)
			}
		}
	}
}

// TestChooseHistories plays nodes that come, change, go and come back in any
// order, and checks after each step that no two nodes' subnets overlap, that
// each fits, and that who holds a fitting lease keeps it.
func TestChooseHistories(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		small := Pools{V4: pool("10.3.0.0/23", 27), V6: pool("fc00::/60", 64)}
		if seed%3 == 1 {
			small.V6 = Pool{}
		} else if seed%3 == 2 {
			small.V4 = Pool{}
		}
		store := map[string]Lease{}
		previous := map[string]Lease{}
		var foreign []Lease
		if small.V4.Enabled() {
			foreign = append(foreign, lease("alien", "10.3.0.64/26@192.168.9.9"))
		}
		for range 200 {
			node := fmt.Sprintf("n%d", r.IntN(24))
			if r.IntN(4) == 0 {
				delete(store, node)
				continue
			}
			c := ClaimOf(previous[node])
			c.Node, c.Pools = node, small
			all := slices.Clone(foreign)
			for _, l := range store {
				all = append(all, l)
			}
			own, release, err := Choose(c, all, r.IntN)
			if errors.Is(err, ErrNoFreeSubnet) {
				if len(store) < 11 {
					t.Fatalf("seed %d: %v with %d leases", seed, err, len(store))
				}
				continue
			}
			if old, held := store[node]; held && (own.V4.Subnet != old.V4.Subnet || own.V6.Subnet != old.V6.Subnet || len(release) > 0) {
				t.Fatalf("seed %d: %s moved from %v to %v, releasing %v", seed, node, old, own, release)
			}
			if small.V4.Enabled() != small.V4.Contains(own.V4.Subnet) || small.V6.Enabled() != small.V6.Contains(own.V6.Subnet) {
				t.Fatalf("seed %d: %v does not fit", seed, own)
			}
			store[node], previous[node] = own, own
			for _, l := range all {
				if l.Node != node && overlap(l, own) {
					t.Fatalf("seed %d: %v overlaps %v", seed, own, l)
				}
			}
		}
	}
}

func overlap(a, b Lease) bool {
	hit := func(p, q netip.Prefix) bool { return p.IsValid() && q.IsValid() && p.Overlaps(q) }
	return hit(a.V4.Subnet, b.V4.Subnet) || hit(a.V6.Subnet, b.V6.Subnet)
}

func BenchmarkChoose15000(b *testing.B) {
	pools := Pools{V4: pool("10.0.0.0/8", 24), V6: pool("fc00::/40", 64)}
	leases := many(pools, 15000)
	c := claim(pools, "@192.168.0.1", "@fd01::1")
	for b.Loop() {
		if _, _, err := Choose(c, leases, first); err != nil {
			b.Fatal(err)
		}
	}
}
