// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/netip"
	"slices"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// clashes returns the Nodes that publish a subnet which overlaps another one's,
// where only their records say so: nobody has checked these against the pod CIDRs.
// A wide subnet comes before those within it.
func clashes(all map[string]nodes.Node, leases []subnet.Lease) (names []string) {
	type place struct {
		subnet netip.Prefix
		node   string
	}
	places := make([]place, 0, len(leases))
	for _, l := range leases {
		for e := range l.Endpoints() {
			places = append(places, place{e.Subnet, l.Node})
		}
	}
	// By address, the larger first: prefixes nest, so that only the last one that
	// is in none before can contain the next one.
	slices.SortStableFunc(places, func(a, b place) int { return a.subnet.Compare(b.subnet) })
	seen := make(map[string]bool)
	add := func(p place) {
		if !seen[p.node] && all[p.node].Record {
			seen[p.node] = true
			names = append(names, p.node)
		}
	}
	var last place
	for _, p := range places {
		if !last.subnet.IsValid() || !last.subnet.Overlaps(p.subnet) {
			last = p
			continue
		}
		if p.node != last.node {
			add(last)
			add(p)
		}
	}
	return names
}
