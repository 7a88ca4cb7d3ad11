// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"net/netip"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// Self is what this node knows of itself in one round.
type Self struct {
	Node   string
	Lease  subnet.Lease            // ours; Data may be empty before it was first published
	Pools  subnet.Pools            // the cluster's pod networks
	Uplink network.Uplink          // the underlay
	Links  map[string]network.Link // all links of this kernel, for adoption
	Locals []netip.Addr            // all addresses of this node
}

// Entries carry packets to one peer.
type Entries struct {
	Forwards  []network.Forward
	Neighbors []network.Neighbor
	Routes    []network.Route
}

// A Backend is one way to reach peers. Its methods are pure.
type Backend interface {
	// Name is the type that leases publish, such as "vxlan".
	Name() string

	// Publish returns the data to publish for each family, compact JSON; "" for
	// none. self.Lease holds what was published last.
	Publish(self Self) (v4, v6 string)

	// Devices returns the links that the backend needs, with their addresses
	// and sysctls. A link of the kernel that serves already is adopted by its
	// name.
	Devices(self Self) (network.State, error)

	// PodMTU returns the largest packet, in bytes, that a pod may send.
	PodMTU(self Self) int

	// Peer returns the entries for one peer. An error means that the peer's
	// lease, or one family of it, is wrong or of no use to us; it says what was
	// seen and what would be right. The entries hold for the rest.
	Peer(self Self, peer subnet.Lease) (Entries, error)
}
