// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"cmp"
	"slices"
	"strings"
)

// Sort puts leases in order of subnet, as a Snapshot holds them.
func Sort(leases []Lease) { slices.SortFunc(leases, compareLeases) }

// compareLeases is a total order: it is 0 only for equal leases.
func compareLeases(a, b Lease) int {
	// The place nearly always decides; the rest is for entries that clash.
	if n := comparePlaces(a, b); n != 0 {
		return n
	}
	return cmp.Or(
		strings.Compare(a.Node, b.Node),
		a.V4.Uplink.Compare(b.V4.Uplink),
		a.V6.Uplink.Compare(b.V6.Uplink),
		strings.Compare(a.Backend, b.Backend),
		strings.Compare(a.V4.Data, b.V4.Data),
		strings.Compare(a.V6.Data, b.V6.Data),
	)
}

// comparePlaces is 0 for leases of the same subnets.
func comparePlaces(a, b Lease) int {
	if n := a.V4.Subnet.Compare(b.V4.Subnet); n != 0 {
		return n
	}
	return a.V6.Subnet.Compare(b.V6.Subnet)
}

// subnets names the lease by what it leases.
func (l Lease) subnets() string {
	var names []string
	for e := range l.Endpoints() {
		names = append(names, e.Subnet.String())
	}
	return strings.Join(names, ", ")
}
