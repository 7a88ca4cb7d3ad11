// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestChooseAssigned(t *testing.T) {
	const up4, up6 = "@192.168.0.1", "@fd01::1"
	given := func(texts ...string) (a Assigned) {
		l := lease("", texts...)
		return Assigned{V4: l.V4.Subnet, V6: l.V6.Subnet}
	}
	for _, c := range []struct {
		name     string
		claim    Claim
		assigned Assigned
		live     bool
		leases   []Lease
		want     Lease
		release  []Lease
		err      error
	}{
		{
			name:     "it is taken",
			claim:    claim(v4only, up4),
			assigned: given("10.3.7.0/24"),
			want:     lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:     "whatever length and bounds say: they are for nodes that choose",
			claim:    claim(v4only, up4),
			assigned: given("10.3.0.0/26"),
			want:     lease("n1", "10.3.0.0/26"+up4),
		}, {
			name:     "whoever else leases it",
			claim:    claim(v4only, up4),
			assigned: given("10.3.7.0/24"),
			leases:   []Lease{lease("a", "10.3.7.0/24@192.168.0.9"), reservation("10.3.7.0/24@192.168.0.8")},
			want:     lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:     "before the one that we chose, which is released",
			claim:    claim(v4only, "10.3.9.0/24"+up4),
			assigned: given("10.3.7.0/24"),
			leases:   []Lease{lease("n1", "10.3.9.0/24"+up4)},
			want:     lease("n1", "10.3.7.0/24"+up4),
			release:  []Lease{lease("n1", "10.3.9.0/24"+up4)},
		}, {
			name:     "nothing is released that is the same place",
			claim:    claim(v4only, up4),
			assigned: given("10.3.7.0/24"),
			leases:   []Lease{lease("n1", "10.3.7.0/24@192.168.0.99")},
			want:     lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:     "dual stack",
			claim:    claim(dual, up4, up6),
			assigned: given("10.3.7.0/24", "fc00:0:0:7::/64"),
			want:     lease("n1", "10.3.7.0/24"+up4, "fc00:0:0:7::/64"+up6),
		}, {
			name:     "one family only, in a cluster of two",
			claim:    claim(dual, up4, up6),
			assigned: given("10.3.7.0/24"),
			want:     lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:     "a family that is off is left out",
			claim:    claim(v6only, up4, up6),
			assigned: given("10.3.7.0/24", "fc00:0:0:7::/64"),
			want:     lease("n1", "fc00:0:0:7::/64"+up6),
		}, {
			name:     "pods live in it",
			claim:    claim(v4only, "10.3.7.0/24"+up4),
			assigned: given("10.3.7.0/24"),
			live:     true,
			want:     lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:     "pods live elsewhere: that is kept, and told",
			claim:    claim(v4only, "10.3.9.0/24"+up4),
			assigned: given("10.3.7.0/24"),
			live:     true,
			leases:   []Lease{lease("n1", "10.3.9.0/24"+up4), lease("n2", "10.3.7.0/24@192.168.0.2")},
			want:     lease("n1", "10.3.9.0/24"+up4),
			err:      ErrReassigned,
		}, {
			name:     "pods live elsewhere in one family",
			claim:    claim(dual, "10.3.7.0/24"+up4, "fc00:0:0:9::/64"+up6),
			assigned: given("10.3.7.0/24", "fc00:0:0:7::/64"),
			live:     true,
			want:     lease("n1", "10.3.7.0/24"+up4, "fc00:0:0:9::/64"+up6),
			err:      ErrReassigned,
		}, {
			name:     "pods live in a subnet that another node has by now",
			claim:    claim(v4only, "10.3.9.0/24"+up4),
			assigned: given("10.3.7.0/24"),
			live:     true,
			leases:   []Lease{lease("n2", "10.3.9.0/24@192.168.0.2")},
			err:      ErrSubnetLost,
		}, {
			name:     "pods live where the network no longer is",
			claim:    claim(v4only, "10.9.9.0/24"+up4),
			assigned: given("10.3.7.0/24"),
			live:     true,
			want:     lease("n1", "10.3.7.0/24"+up4),
		}, {
			name:     "it is not known yet",
			claim:    claim(v4only, "10.3.9.0/24"+up4),
			assigned: Assigned{Pending: "who knows"},
			err:      ErrUnassigned,
		}, {
			name:     "it is not known yet, and pods live",
			claim:    claim(v4only, "10.3.9.0/24"+up4),
			assigned: Assigned{Pending: "who knows"},
			live:     true,
			want:     lease("n1", "10.3.9.0/24"+up4),
			err:      ErrUnassigned,
		}, {
			name:     "it is not known yet, and pods live where another node is by now",
			claim:    claim(v4only, "10.3.9.0/24"+up4),
			assigned: Assigned{Pending: "who knows"},
			live:     true,
			leases:   []Lease{lease("n2", "10.3.9.0/25@192.168.0.2")},
			err:      ErrSubnetLost,
		}, {
			name:     "it is not known yet, and pods live where the network no longer is",
			claim:    claim(v4only, "10.9.9.0/24"+up4),
			assigned: Assigned{Pending: "who knows"},
			live:     true,
			err:      ErrUnassigned,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.claim.Assigned, c.claim.PodsLive = c.assigned, c.live
			got, release, err := Choose(c.claim, c.leases, first)
			if got != c.want || !slices.Equal(release, c.release) || !errors.Is(err, c.err) {
				t.Errorf("Choose = %v, release %v, %v\nwant %v, release %v, %v", got, release, err, c.want, c.release, c.err)
			}
		})
	}
}

// A double assignment is told where it is first seen, while pods keep the node
// from taking it.
func TestReassignedNamesRivals(t *testing.T) {
	c := claim(v4only, "10.3.9.0/24@192.168.0.1")
	c.Assigned, c.PodsLive = Assigned{V4: prefix("10.3.7.0/24")}, true
	_, _, err := Choose(c, []Lease{lease("n2", "10.3.7.0/24@192.168.0.2")}, first)
	if text := fmt.Sprint(err); !strings.Contains(text, "n2") || !strings.Contains(text, "10.3.7.0/24") || !strings.Contains(text, "10.3.9.0/24") {
		t.Errorf("Choose: %v; want it to name both subnets and n2", err)
	}
}

// What cannot be used is told with what was seen and what would be right.
func TestChooseRefusesAssigned(t *testing.T) {
	for _, c := range []struct {
		pools    Pools
		assigned Assigned
		words    []string
	}{
		{v4only, Assigned{V4: prefix("10.9.7.0/24")}, []string{"10.9.7.0/24", "10.3.0.0/16", `"Network"`}},
		{v4only, Assigned{V4: prefix("10.3.0.0/16")}, []string{"10.3.0.0/16", `"Network"`}},
		{v4only, Assigned{V4: prefix("10.0.0.0/8")}, []string{"10.0.0.0/8"}},
		{v4only, Assigned{V4: prefix("10.3.7.4/31")}, []string{"10.3.7.4/31", "/30"}},
		{dual, Assigned{V4: prefix("10.3.7.0/24"), V6: prefix("fd00::/64")}, []string{"fd00::/64", `"IPv6Network"`}},
		{v6only, Assigned{V4: prefix("10.3.7.0/24")}, []string{"10.3.7.0/24", "EnableIPv4"}},
	} {
		claim := claim(c.pools, "@192.168.0.1", "@fd01::1")
		claim.Assigned = c.assigned
		own, _, err := Choose(claim, nil, first)
		if err == nil || own != (Lease{}) {
			t.Errorf("Choose with %v assigned = %v, %v; want an error", c.assigned, own, err)
			continue
		}
		for _, word := range c.words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("with %v assigned: %v; want it to say %s", c.assigned, err, word)
			}
		}
	}
}

func TestAssignedOf(t *testing.T) {
	four, six := prefix("10.3.7.0/24"), prefix("fc00:0:0:7::/64")
	for _, c := range []struct {
		assigned Assigned
		want     Pools
	}{
		{Assigned{}, dual},
		{Assigned{Pending: "?"}, dual},
		{Assigned{V4: four}, v4only},
		{Assigned{V6: six}, v6only},
		{Assigned{V4: four, V6: six}, dual},
	} {
		if got := c.assigned.Of(dual); got != c.want {
			t.Errorf("%+v: pools %v; want %v", c.assigned, got, c.want)
		}
	}
}

func TestInside(t *testing.T) {
	l := lease("n1", "10.3.0.0/26@192.168.0.1", "fd00::/64@fd01::1")
	if got, want := l.Inside(dual), lease("n1", "10.3.0.0/26@192.168.0.1"); got != want {
		t.Errorf("Inside = %v; want %v: the bounds of those who choose do not count", got, want)
	}
}
