// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"iter"
	"net/netip"
)

// A Lease gives one node the sole use of one pod subnet per address family.
// It is comparable: two leases are the same iff they are ==.
type Lease struct {
	Node    string // owner, as the cluster names it; "" when its agent published none (flannel)
	Backend string // type of the owner's backend, such as "vxlan"; "" for a reservation
	V4, V6  Endpoint
}

// An Endpoint is a lease in one address family. The zero Endpoint means that
// the node has none.
type Endpoint struct {
	Subnet netip.Prefix // masked
	Uplink netip.Addr   // where the owner receives packets for Subnet, as published
	Data   string       // compact JSON that the owner's backend published; only a backend reads it
}

// Endpoints passes the endpoints that l has, IPv4 first.
func (l Lease) Endpoints() iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		for _, e := range [...]Endpoint{l.V4, l.V6} {
			if e.Subnet.IsValid() && !yield(e) {
				return
			}
		}
	}
}

// Subnets returns the subnets that l leases, IPv4 first.
func (l Lease) Subnets() []netip.Prefix {
	var all []netip.Prefix
	for e := range l.Endpoints() {
		all = append(all, e.Subnet)
	}
	return all
}

// In returns l without what lies outside of the pools.
func (l Lease) In(pools Pools) Lease {
	if !pools.V4.Contains(l.V4.Subnet) {
		l.V4 = Endpoint{}
	}
	if !pools.V6.Contains(l.V6.Subnet) {
		l.V6 = Endpoint{}
	}
	return l
}

// Covers reports whether l has a subnet for each pool that is enabled.
func (l Lease) Covers(pools Pools) bool {
	return (!pools.V4.Enabled() || l.V4.Subnet.IsValid()) && (!pools.V6.Enabled() || l.V6.Subnet.IsValid())
}

// Name returns what an operator calls the owner: its node name, or its uplink
// address where none was published.
func (l Lease) Name() string {
	if l.Node != "" {
		return l.Node
	}
	for e := range l.Endpoints() {
		if e.Uplink.IsValid() {
			return e.Uplink.String()
		}
	}
	return "unknown"
}

// A Pool is the address range of one family that subnets are taken from. The
// zero Pool means that the family is off.
type Pool struct {
	Network  netip.Prefix // the cluster's pod network, masked
	Len      int          // prefix length of each node's subnet
	Min, Max netip.Addr   // base addresses of the first and the last subnet that may be taken
}

// Enabled reports whether the family is in use.
func (p Pool) Enabled() bool { return p.Network.IsValid() }

// Pools are the cluster's pools, one per family.
type Pools struct{ V4, V6 Pool }

// A Refusal is a lease that is not believed, and why. It hurts no other lease.
type Refusal struct {
	Lease  string `json:"lease"`  // what names it: the store's key, or its subnets
	Node   string `json:"node"`   // who published it, if known
	Reason string `json:"reason"` // what was seen, and what would be right
}
