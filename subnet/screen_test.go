// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// many returns n sound leases, in order.
func many(pools Pools, n int) []Lease {
	v4, v6 := takenOf(nil).free(pools.V4, n), takenOf(nil).free(pools.V6, n)
	up4, up6 := addr("172.16.0.1"), addr("fd01::1:1")
	out := make([]Lease, n)
	for i := range out {
		out[i] = Lease{
			Node: fmt.Sprintf("node-%d", i), Backend: "vxlan",
			V4: Endpoint{v4[i], up4, `{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}`},
			V6: Endpoint{v6[i], up6, `{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}`},
		}
		up4, up6 = up4.Next(), up6.Next()
	}
	return out
}

func TestScreenRefusesAlone(t *testing.T) {
	own := lease("n1", "10.3.1.0/24@192.168.0.1", "fc00:0:0:1::/64@fd01::1")
	good := lease("good", "10.3.2.0/24@192.168.0.2", "fc00:0:0:2::/64@fd01::2")
	half4, half6 := lease("bad", "10.3.3.0/24@192.168.0.3"), lease("bad", "fc00:0:0:3::/64@fd01::3")
	swapped := Lease{Node: "bad", Backend: "vxlan", V4: Endpoint{Subnet: prefix("fc00:0:0:3::/64"), Uplink: addr("192.168.0.3")}}
	zoned := lease("bad", "fc00:0:0:3::/64@fe80::3%eth0")
	for _, c := range []struct {
		name   string
		bad    Lease
		peer   Lease // what is left; zero: nothing
		reason string
	}{
		{"outside", lease("bad", "10.4.3.0/24@192.168.0.3"), Lease{}, "10.4.3.0/24 lies outside the pod network 10.3.0.0/16"},
		{"as large", lease("bad", "10.3.0.0/16@192.168.0.3"), Lease{}, "as large as the pod network"},
		{"everything", lease("bad", "0.0.0.0/0@192.168.0.3"), Lease{}, "a /24 in it"},
		{"IPv6 everything", lease("bad", "::/0@fd01::3"), Lease{}, "a /64 in it"},
		{"multicast", lease("bad", "224.3.3.0/24@192.168.0.3"), Lease{}, "224.3.3.0/24 is multicast"},
		{"host bits", lease("bad", "10.3.3.9/24@192.168.0.3"), Lease{}, "10.3.3.0/24 would be right"},
		{"family", swapped, Lease{}, "wrong address family"},
		{"our subnet", lease("bad", "10.3.1.0/24@192.168.0.3"), Lease{}, "overlaps our own subnet 10.3.1.0/24"},
		{"part of our subnet", lease("bad", "10.3.1.128/25@192.168.0.3"), Lease{}, "overlaps our own"},
		{"around our subnet", lease("bad", "10.3.0.0/22@192.168.0.3"), Lease{}, "overlaps our own"},
		{"peer's subnet", lease("zz", "10.3.2.0/24@192.168.0.3"), Lease{}, "overlaps 10.3.2.0/24 of peer good"},
		{"around a peer's", lease("bad", "10.3.2.0/23@192.168.0.3"), Lease{}, "overlaps 10.3.2.0/24 of peer good"},
		{"no uplink", lease("bad", "10.3.3.0/24"), Lease{}, "no IPv4 uplink"},
		{"unspecified uplink", lease("bad", "10.3.3.0/24@0.0.0.0"), Lease{}, "no IPv4 uplink"},
		{"multicast uplink", lease("bad", "10.3.3.0/24@239.1.1.1"), Lease{}, "239.1.1.1 is a multicast"},
		{"broadcast uplink", lease("bad", "10.3.3.0/24@255.255.255.255"), Lease{}, "broadcast"},
		{"loopback uplink", lease("bad", "10.3.3.0/24@127.0.0.1"), Lease{}, "loopback"},
		{"link-local uplink", lease("bad", "10.3.3.0/24@169.254.1.1"), Lease{}, "link-local"},
		{"our uplink", lease("bad", "10.3.3.0/24@192.168.0.1"), Lease{}, "192.168.0.1 is our own"},
		{"pod's uplink", lease("bad", "10.3.3.0/24@10.3.9.9"), Lease{}, "inside the pod network"},
		{"IPv6 loopback uplink", lease("bad", "fc00:0:0:3::/64@::1"), Lease{}, "loopback"},
		{"zone", zoned, Lease{}, "not a plain IPv6 address"},
		{"bad IPv6 half", lease("bad", "10.3.3.0/24@192.168.0.3", "fc77::/64@fd01::3"), half4, "fc77::/64 lies outside"},
		{"bad IPv4 half", lease("bad", "10.3.3.0/24@192.168.0.1", "fc00:0:0:3::/64@fd01::3"), half6, "our own"},
		{"bad IPv6 overlap", lease("zz", "10.3.3.0/24@192.168.0.3", "fc00:0:0:2::/64@fd01::3"), lease("zz", "10.3.3.0/24@192.168.0.3"), "of peer good"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := []Lease{good}
			if c.peer != (Lease{}) {
				want = append(want, c.peer)
				Sort(want)
			}
			in := []Lease{own, good, c.bad}
			for range 4 {
				in = shuffled(append(in, c.bad, good))
				peers, refused := Screen(dual, own, in)
				if !slices.Equal(peers, want) {
					t.Fatalf("peers = %v; want %v", peers, want)
				}
				if len(refused) != 1 || !strings.Contains(refused[0].Reason, c.reason) || refused[0].Node != c.bad.Node || refused[0].Lease != c.bad.subnets() {
					t.Fatalf("refused = %+v; want one of %s %s that says %q", refused, c.bad.Node, c.bad.subnets(), c.reason)
				}
			}
		})
	}
}

func TestScreenLeavesOutSilently(t *testing.T) {
	own := lease("n1", "10.3.1.0/24@192.168.0.1")
	for _, c := range []struct {
		name  string
		pools Pools
		own   Lease
		l     Lease
		want  []Lease
	}{
		{"our own", v4only, own, own, nil},
		{"our own, superseded", v4only, own, lease("n1", "10.3.9.0/24@192.168.0.1"), nil},
		{"ours, by flannel", v4only, own, lease("", "10.3.9.0/24@192.168.0.1"), nil},
		{"reservation", v4only, own, reservation("10.3.9.0/24@192.168.0.9"), nil},
		{"family that is off", v4only, own, lease("n2", "fc00:0:0:9::/64@fd01::9"), nil},
		{"half that is off", v4only, own, lease("n2", "10.3.9.0/24@192.168.0.9", "fc77::/64@fd01::9"), []Lease{lease("n2", "10.3.9.0/24@192.168.0.9")}},
		{"own not known yet", v4only, Lease{}, own, []Lease{own}},
		{"flannel's", v4only, own, lease("", "10.3.9.0/24@192.168.0.9"), []Lease{lease("", "10.3.9.0/24@192.168.0.9")}},
	} {
		peers, refused := Screen(c.pools, c.own, []Lease{c.l})
		if !slices.Equal(peers, c.want) || len(refused) != 0 {
			t.Errorf("%s: Screen = %v, %v; want %v and no refusal", c.name, peers, refused, c.want)
		}
	}
}

// TestScreenIsOrderless checks on leases that clash in every way that the
// result depends on the set alone, that no two peers overlap, and that each
// lease is a peer, refused, or both.
func TestScreenIsOrderless(t *testing.T) {
	own := lease("n1", "10.3.1.0/24@192.168.0.1", "fc00:0:0:1::/64@fd01::1")
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		leases := []Lease{own}
		for i := range 60 {
			v4 := fmt.Sprintf("10.3.%d.0/%d@192.168.0.%d", r.IntN(32), 20+r.IntN(7), r.IntN(40))
			v6 := fmt.Sprintf("fc00:0:0:%x::/%d@fd01::%x", r.IntN(32), 60+r.IntN(7), r.IntN(40))
			leases = append(leases, lease(fmt.Sprint("p", i%25), v4, v6))
		}
		peers, refused := Screen(dual, own, leases)
		for range 5 {
			again, refusedAgain := Screen(dual, own, shuffled(append(slices.Clone(leases), leases[:10]...)))
			if !slices.Equal(peers, again) || !slices.Equal(refused, refusedAgain) {
				t.Fatalf("seed %d: another order gives\n%v\n%v\nfirst was\n%v\n%v", seed, again, refusedAgain, peers, refused)
			}
		}
		for i, a := range peers {
			for _, b := range peers[:i] {
				if overlap(a, b) {
					t.Fatalf("seed %d: peers %v and %v overlap", seed, a, b)
				}
			}
		}
		if len(peers) == 0 || len(refused) == 0 {
			t.Errorf("seed %d: %d peers, %d refused; the test wants both", seed, len(peers), len(refused))
		}
	}
}

func shuffled(in []Lease) []Lease {
	out := slices.Clone(in)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func BenchmarkScreen15000(b *testing.B) {
	pools := Pools{V4: pool("10.0.0.0/8", 24), V6: pool("fc00::/40", 64)}
	leases := many(pools, 15000)
	b.Run("sorted", func(b *testing.B) {
		for b.Loop() {
			if peers, refused := Screen(pools, leases[0], leases); len(peers) != 14999 || len(refused) != 0 {
				b.Fatal(len(peers), refused)
			}
		}
	})
	clash := slices.Clone(leases)
	for i := range clash {
		clash[i].V4.Subnet = clash[i-i%2].V4.Subnet
	}
	b.Run("half refused, shuffled", func(b *testing.B) {
		clash = shuffled(clash)
		for b.Loop() {
			Screen(pools, Lease{}, clash)
		}
	})
}
