// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/netip"
	"slices"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// publicity reads what an operator wrote on our Node of the addresses that peers
// are to use.
func (k keys) publicity(n nodes.Node) (v4, v6 subnet.Publicity, refused []subnet.Refusal) {
	d := decoder{keys: k, node: n}
	read := func(key string, bits int) netip.Addr {
		text, ok := d.text(key, maxAddr)
		if !ok {
			return netip.Addr{}
		}
		a, err := parseAddr(text, bits)
		if err != nil {
			d.refuse(key, "%v", err)
		}
		return a
	}
	v4 = subnet.Publicity{Public: read(k.public4, 32), Overwrite: read(k.overwrite4, 32)}
	v6 = subnet.Publicity{Public: read(k.public6, 128), Overwrite: read(k.overwrite6, 128)}
	return v4, v6, d.refused
}

// decodeOwn is decode for our own Node. It reports, too, whether our annotations
// lack something that the lease does not tell, such as what spares the other
// agents reading our whole Node.
func (k keys) decodeOwn(n nodes.Node, pending bool) (l subnet.Lease, amiss bool, refused []subnet.Refusal) {
	d := decoder{keys: k, node: n, own: true}
	l = d.lease()
	if l == (subnet.Lease{}) {
		return l, false, d.refused
	}
	want := k.encode(l, sourceOf(l, n.PodCIDRs, pending))
	return l, len(k.change(n.Annotations, want)) > 0, d.refused
}

// sourceOf says where the subnets of a lease are from, given what the cluster
// has assigned, and whether the node waits for it to assign.
func sourceOf(l subnet.Lease, assigned []string, pending bool) string {
	given := podCIDRs(assigned)
	for e := range l.Endpoints() {
		if !slices.Contains(given, e.Subnet) {
			if pending {
				return sourceKept
			}
			return sourceLease
		}
	}
	return sourceCluster
}
