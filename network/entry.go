// SPDX-License-Identifier: Apache-2.0

package network

import "net/netip"

// Protocol marks the routes that are ours (rtm_protocol; shown by "ip route" as
// "proto 112"). Numbers from 16 to 252 that iproute2 does not name are free.
const Protocol = 112

// An Address is an address of a link. It is its own key.
type Address struct {
	Link   string
	Prefix netip.Prefix // the address with its prefix length, not masked
}

// A Route is a unicast or blackhole route of the main table.
type Route struct {
	Dst       netip.Prefix // masked
	Via       netip.Addr   // gateway; zero: Dst is on the link
	Link      string       // output device
	Onlink    bool         // Via is reachable on Link although no route says so
	Blackhole bool         // packets are dropped in silence; Via and Link are empty
	Metric    uint32       // priority; IPv6 has none below 1
	Protocol  uint8        // who installed it
}

// A RouteKey identifies a route: the kernel tells routes to one destination
// apart by their metric.
type RouteKey struct {
	Dst    netip.Prefix
	Metric uint32
}

// Key returns what the kernel knows r by.
func (r Route) Key() RouteKey { return RouteKey{r.Dst, r.Metric} }

// A Neighbor is a permanent neighbor (ARP or ND) entry.
type Neighbor struct {
	Link string
	IP   netip.Addr
	MAC  MAC
}

// A NeighborKey identifies a neighbor entry.
type NeighborKey struct {
	Link string
	IP   netip.Addr
}

// Key returns what the kernel knows n by.
func (n Neighbor) Key() NeighborKey { return NeighborKey{n.Link, n.IP} }

// A Forward is a permanent forwarding (FDB) entry of a VXLAN device: frames
// to MAC are sent to the tunnel endpoint Dst.
type Forward struct {
	Link string
	MAC  MAC
	Dst  netip.Addr
}

// A ForwardKey identifies a forwarding entry. A unicast MAC has one
// destination, so Dst is zero; a group MAC and the all-zero MAC (where frames
// to unknown addresses go) have any number, and each is an entry of its own.
type ForwardKey struct {
	Link string
	MAC  MAC
	Dst  netip.Addr
}

// Key returns what the kernel knows f by.
func (f Forward) Key() ForwardKey {
	if f.MAC.IsGroup() || f.MAC.IsZero() {
		return ForwardKey(f)
	}
	return ForwardKey{Link: f.Link, MAC: f.MAC}
}

// A Sysctl is a kernel setting of one network namespace.
type Sysctl struct {
	Path  string // below /proc/sys, such as net/ipv4/ip_forward
	Value string // as the kernel prints it, without the newline
}
