// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// read decodes what all Nodes but ours publish; bare is as customOf has it.
func (s *Store) read(all *nodes.Snapshot, bare map[string]string) read {
	r := read{from: all, custom: s.keys.customOf(all.Nodes, s.cfg.Node, bare)}
	r.leases = make([]subnet.Lease, 0, len(all.Nodes))
	for _, n := range all.Nodes {
		if n.Name == s.cfg.Node {
			continue // it is watched whole
		}
		l, refused := s.keys.decode(n)
		r.refused = append(r.refused, refused...)
		if l != (subnet.Lease{}) {
			r.leases = append(r.leases, l)
		}
	}
	if all.Omitted > 0 {
		r.refused = append(r.refused, subnet.Refusal{Lease: fmt.Sprintf("%d Nodes", all.Omitted),
			Reason: "there are too many Nodes, or their names are none; kubectl get nodes lists them"})
	}
	subnet.Sort(r.leases)
	r.clashes = clashes(all.Nodes, r.leases)
	slices.SortFunc(r.refused, func(a, b subnet.Refusal) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Lease, b.Lease), strings.Compare(a.Reason, b.Reason))
	})
	return r
}

// reservations returns what the Lease objects add to the leases that Nodes
// publish: ours, unless our Node publishes own, so that it is chosen again; and
// those of others, which bear no name since nobody can be reached there yet.
func (s *Store) reservations(claims []claim, leases []subnet.Lease, own subnet.Lease) []subnet.Lease {
	published := make(map[netip.Prefix]bool, 2*len(leases))
	for _, l := range leases {
		published[l.V4.Subnet], published[l.V6.Subnet] = true, true
	}
	var out []subnet.Lease
	ours := subnet.Lease{Node: s.cfg.Node}
	for _, c := range claims {
		p, ok := parseClaimName(c.Metadata.Name)
		if !ok {
			continue
		}
		place := subnet.Lease{V4: subnet.Endpoint{Subnet: p}}
		if p.Addr().Is6() {
			place = subnet.Lease{V6: subnet.Endpoint{Subnet: p}}
		}
		switch {
		case c.Spec.Holder != s.cfg.Node:
			if !published[p] {
				out = append(out, place)
			}
		case p.Addr().Is4() && ours.V4 == (subnet.Endpoint{}):
			ours.V4 = place.V4
		case p.Addr().Is6() && ours.V6 == (subnet.Endpoint{}):
			ours.V6 = place.V6
		}
	}
	if own == (subnet.Lease{}) && len(ours.Subnets()) > 0 {
		out = append(out, ours)
	}
	return out
}
