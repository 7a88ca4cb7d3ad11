// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var (
	dual   = Pools{V4: pool("10.3.0.0/16", 24), V6: pool("fc00::/48", 64)}
	v4only = Pools{V4: dual.V4}
	v6only = Pools{V6: dual.V6}
)

// lease makes a lease of node from "subnet@uplink" texts, one per family.
func lease(node string, ends ...string) Lease {
	l := Lease{Node: node, Backend: "vxlan"}
	for _, end := range ends {
		s, u, _ := strings.Cut(end, "@")
		var e Endpoint
		if s != "" {
			e.Subnet = prefix(s)
		}
		if u != "" {
			e.Uplink = addr(u)
		}
		if e.Uplink.Is4() || e.Subnet.Addr().Is4() {
			l.V4 = e
		} else {
			l.V6 = e
		}
	}
	return l
}

func reservation(ends ...string) Lease {
	l := lease("", ends...)
	l.Backend = ""
	return l
}

func claim(pools Pools, ends ...string) Claim {
	c := ClaimOf(lease("n1", ends...))
	c.Pools = pools
	return c
}

func first(int) int { return 0 }

func TestChoose(t *testing.T) {
	const up4, up6 = "@192.168.0.1", "@fd01::1"
	for _, c := range []struct {
		name    string
		claim   Claim
		leases  []Lease
		want    Lease
		release []Lease
	}{
		{
			name:  "first free",
			claim: claim(v4only, up4),
			want:  lease("n1", "10.3.1.0/24"+up4),
		}, {
			name:   "free between others",
			claim:  claim(v4only, up4),
			leases: []Lease{lease("n2", "10.3.1.0/24@192.168.0.2"), lease("n3", "10.3.2.0/23@192.168.0.3")},
			want:   lease("n1", "10.3.4.0/24"+up4),
		}, {
			name:   "ours is kept, before the previous one",
			claim:  claim(v4only, "10.3.8.0/24"+up4),
			leases: []Lease{lease("n1", "10.3.7.0/24"+up4)},
			want:   lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:   "ours is kept with a new uplink",
			claim:  claim(v4only, up4),
			leases: []Lease{lease("n1", "10.3.7.0/24@192.168.0.99")},
			want:   lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:   "flannel's of our uplink is taken over",
			claim:  claim(v4only, up4),
			leases: []Lease{lease("", "10.3.7.0/24"+up4), lease("", "10.3.1.0/24@192.168.0.2")},
			want:   lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:   "a reservation is taken",
			claim:  claim(v4only, up4),
			leases: []Lease{reservation("10.3.77.0/24" + up4)},
			want:   lease("n1", "10.3.77.0/24"+up4),
		}, {
			name:   "another's reservation is left alone",
			claim:  claim(v4only, up4),
			leases: []Lease{reservation("10.3.1.0/24@192.168.0.2")},
			want:   lease("n1", "10.3.2.0/24"+up4),
		}, {
			name:   "a reservation that another's lease overlaps is not taken, and not released",
			claim:  claim(v4only, up4),
			leases: []Lease{reservation("10.3.2.0/24" + up4), lease("n2", "10.3.2.0/25@192.168.0.2")},
			want:   lease("n1", "10.3.1.0/24"+up4),
		}, {
			name:   "another node's with our uplink is not ours",
			claim:  claim(v4only, "10.3.7.0/24"+up4),
			leases: []Lease{lease("n2", "10.3.7.0/24"+up4)},
			want:   lease("n1", "10.3.1.0/24"+up4),
		}, {
			name:  "previous is free",
			claim: claim(v4only, "10.3.8.0/24"+up4),
			want:  lease("n1", "10.3.8.0/24"+up4),
		}, {
			name:   "previous is overlapped",
			claim:  claim(v4only, "10.3.8.0/24"+up4),
			leases: []Lease{lease("n2", "10.3.8.64/26@192.168.0.2")},
			want:   lease("n1", "10.3.1.0/24"+up4),
		}, {
			name:    "ours is out of range, previous too",
			claim:   claim(v4only, "10.9.8.0/24"+up4),
			leases:  []Lease{lease("n1", "10.9.8.0/24"+up4)},
			want:    lease("n1", "10.3.1.0/24"+up4),
			release: []Lease{lease("n1", "10.9.8.0/24"+up4)},
		}, {
			name:    "ours has the wrong length",
			claim:   claim(v4only, up4),
			leases:  []Lease{lease("n1", "10.3.4.0/23"+up4)},
			want:    lease("n1", "10.3.1.0/24"+up4),
			release: []Lease{lease("n1", "10.3.4.0/23"+up4)},
		}, {
			name:    "of two the one that pods live on is kept",
			claim:   claim(v4only, "10.3.9.0/24"+up4),
			leases:  []Lease{lease("n1", "10.3.7.0/24"+up4), lease("n1", "10.3.9.0/24"+up4)},
			want:    lease("n1", "10.3.9.0/24"+up4),
			release: []Lease{lease("n1", "10.3.7.0/24"+up4)},
		}, {
			name:   "a later reservation does not move a node, and stays",
			claim:  claim(v4only, up4),
			leases: []Lease{lease("n1", "10.3.9.0/24"+up4), reservation("10.3.7.0/24" + up4)},
			want:   lease("n1", "10.3.9.0/24"+up4),
		}, {
			name:   "IPv6 only: 0.0.0.0 is nobody's address",
			claim:  claim(v6only, up6),
			leases: []Lease{lease("", "fc00:0:0:1::/64@fd01::2")},
			want:   lease("n1", "fc00:0:0:2::/64"+up6),
		}, {
			name:  "dual stack takes one position",
			claim: claim(dual, up4, up6),
			leases: []Lease{
				lease("n2", "10.3.1.0/24@192.168.0.2", "fc00:0:0:9::/64@fd01::2"),
			},
			want: lease("n1", "10.3.2.0/24"+up4, "fc00:0:0:2::/64"+up6),
		}, {
			name:  "dual stack where the position is taken",
			claim: claim(dual, up4, up6),
			leases: []Lease{
				lease("n2", "10.3.9.0/24@192.168.0.2", "fc00:0:0:1::/64@fd01::2"),
			},
			want: lease("n1", "10.3.1.0/24"+up4, "fc00:0:0:2::/64"+up6),
		}, {
			name:    "an IPv4 lease gains IPv6",
			claim:   claim(dual, up4, up6),
			leases:  []Lease{lease("n1", "10.3.17.0/24"+up4)},
			want:    lease("n1", "10.3.17.0/24"+up4, "fc00:0:0:11::/64"+up6),
			release: []Lease{lease("n1", "10.3.17.0/24"+up4)},
		}, {
			name:    "an IPv6 lease gains IPv4",
			claim:   claim(dual, up4, up6),
			leases:  []Lease{lease("n1", "fc00:0:0:11::/64"+up6)},
			want:    lease("n1", "10.3.17.0/24"+up4, "fc00:0:0:11::/64"+up6),
			release: []Lease{lease("n1", "fc00:0:0:11::/64"+up6)},
		}, {
			name:    "dual stack is left",
			claim:   claim(v4only, up4),
			leases:  []Lease{lease("n1", "10.3.17.0/24"+up4, "fc00:0:0:11::/64"+up6)},
			want:    lease("n1", "10.3.17.0/24"+up4),
			release: []Lease{lease("n1", "10.3.17.0/24"+up4, "fc00:0:0:11::/64"+up6)},
		}, {
			name:    "one half fits",
			claim:   claim(dual, up4, up6),
			leases:  []Lease{lease("n1", "10.3.17.0/24"+up4, "fc77:0:0:11::/64"+up6)},
			want:    lease("n1", "10.3.17.0/24"+up4, "fc00:0:0:11::/64"+up6),
			release: []Lease{lease("n1", "10.3.17.0/24"+up4, "fc77:0:0:11::/64"+up6)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 4 {
				rand.Shuffle(len(c.leases), func(i, j int) { c.leases[i], c.leases[j] = c.leases[j], c.leases[i] })
				got, release, err := Choose(c.claim, c.leases, first)
				if err != nil || got != c.want || !slices.Equal(release, c.release) {
					t.Fatalf("Choose = %+v, release %+v, %v\nwant %+v, release %+v", got, release, err, c.want, c.release)
				}
			}
		})
	}
}

func TestChoosePicksAmongTheFirstHundred(t *testing.T) {
	got, _, err := Choose(claim(v4only, "@192.168.0.1"), nil, func(n int) int {
		if n != spread {
			t.Errorf("pick of %d; want of %d", n, spread)
		}
		return n - 1
	})
	if want := prefix("10.3.100.0/24"); err != nil || got.V4.Subnet != want {
		t.Errorf("Choose = %v, %v; want %v", got.V4.Subnet, err, want)
	}
}

func TestChooseFails(t *testing.T) {
	full := []Lease{lease("n2", "10.3.0.0/17@192.168.0.2"), lease("n3", "10.3.128.0/17@192.168.0.3")}
	own, release, err := Choose(claim(v4only, "@192.168.0.1"), full, first)
	if !errors.Is(err, ErrNoFreeSubnet) || own != (Lease{}) || release != nil {
		t.Fatalf("Choose = %v, %v, %v; want ErrNoFreeSubnet alone", own, release, err)
	}
	for _, want := range []string{"10.3.0.0/16", "/24", "255", "2 leases", "SubnetLen"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if _, _, err := Choose(claim(Pools{}), nil, first); err == nil || errors.Is(err, ErrNoFreeSubnet) {
		t.Errorf("Choose without families = %v; want an error of its own", err)
	}
}

func TestChooseWhilePodsLive(t *testing.T) {
	const up4, up6 = "@192.168.0.1", "@fd01::1"
	v6 := v6only.V6
	for _, c := range []struct {
		name    string
		claim   Claim
		leases  []Lease
		want    Lease
		release []Lease
		lost    string // in the error; "" for none
	}{
		{
			name:  "our key was deleted",
			claim: claim(v4only, "10.3.8.0/24"+up4),
			want:  lease("n1", "10.3.8.0/24"+up4),
		}, {
			name:   "it stands",
			claim:  claim(v4only, "10.3.8.0/24"+up4),
			leases: []Lease{lease("n1", "10.3.8.0/24"+up4), lease("n2", "10.3.0.0/17@192.168.0.2")},
			want:   lease("n1", "10.3.8.0/24"+up4),
		}, {
			name:    "another of ours is no reason to leave it",
			claim:   claim(v4only, "10.3.8.0/24"+up4),
			leases:  []Lease{lease("n1", "10.3.7.0/24"+up4)},
			want:    lease("n1", "10.3.8.0/24"+up4),
			release: []Lease{lease("n1", "10.3.7.0/24"+up4)},
		}, {
			name:   "another node has it",
			claim:  claim(v4only, "10.3.8.0/24"+up4),
			leases: []Lease{lease("n2", "10.3.8.0/24@192.168.0.2")},
			lost:   "10.3.8.0/24 is leased to n2 at 192.168.0.2, as 10.3.8.0/24",
		}, {
			name:   "another node has a part of it, and no name",
			claim:  claim(v4only, "10.3.8.0/24"+up4),
			leases: []Lease{lease("", "10.3.8.128/25@192.168.0.2"), lease("n1", "10.3.7.0/24"+up4)},
			lost:   "10.3.8.0/24 is leased to 192.168.0.2 at 192.168.0.2, as 10.3.8.128/25",
		}, {
			name:   "it is reserved for another node",
			claim:  claim(v4only, "10.3.8.0/24"+up4),
			leases: []Lease{reservation("10.3.8.0/24@192.168.0.2")},
			lost:   "10.3.8.0/24 is leased to 192.168.0.2",
		}, {
			name:   "one family is lost",
			claim:  claim(dual, "10.3.8.0/24"+up4, "fc00:0:0:8::/64"+up6),
			leases: []Lease{lease("n2", "10.3.9.0/24@192.168.0.2", "fc00:0:0:8::/64@fd01::2")},
			lost:   "fc00:0:0:8::/64 is leased to n2 at fd01::2",
		}, {
			name:   "the network is another one now",
			claim:  claim(v4only, "10.99.8.0/24"+up4),
			leases: []Lease{lease("n2", "10.99.8.0/24@192.168.0.2")},
			want:   lease("n1", "10.3.1.0/24"+up4),
		}, {
			name:  "a family is new",
			claim: claim(Pools{V4: v4only.V4, V6: v6}, "10.3.8.0/24"+up4, up6),
			want:  lease("n1", "10.3.8.0/24"+up4, "fc00:0:0:8::/64"+up6),
		}, {
			name:  "there was none",
			claim: claim(v4only, up4),
			want:  lease("n1", "10.3.1.0/24"+up4),
		},
	} {
		c.claim.PodsLive = true
		got, release, err := Choose(c.claim, c.leases, first)
		if got != c.want || !slices.Equal(release, c.release) {
			t.Errorf("%s: chose %+v, releases %v; want %+v, %v", c.name, got, release, c.want, c.release)
		}
		if (err != nil) != (c.lost != "") || err != nil && (!errors.Is(err, ErrSubnetLost) || !strings.Contains(err.Error(), c.lost)) {
			t.Errorf("%s: error %v; want %q", c.name, err, c.lost)
		}
		if c.claim.PodsLive = false; c.lost == "" {
			continue
		}
		if got, _, err := Choose(c.claim, c.leases, first); err != nil || sameSubnets(got, Lease{V4: c.claim.V4, V6: c.claim.V6}) {
			t.Errorf("%s, and no pods: chose %+v, %v; want another subnet", c.name, got, err)
		}
	}
}
