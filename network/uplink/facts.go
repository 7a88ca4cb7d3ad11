// SPDX-License-Identifier: Apache-2.0

// Package uplink chooses the interface that carries packets to peers. It is
// pure: what the kernel knows comes in as Facts.
package uplink

import "net/netip"

// Facts are what the choice depends on, as read from the kernel.
type Facts struct {
	Links  []Link  // in the kernel's order (by index)
	Routes []Route // main table: default and link-scope (no gateway) unicast routes only
	Reach  Hop     // the kernel's way to --iface-can-reach; zero if not asked or no way
}

// A Link is an interface that may be the uplink.
type Link struct {
	Name     string
	MTU      int // bytes
	Up       bool
	Loopback bool
	Addrs    []Addr // in the kernel's order
}

// An Addr is an address of a Link.
type Addr struct {
	Prefix     netip.Prefix // not masked
	Permanent  bool         // set by hand or by a manager, without a lifetime
	Deprecated bool         // RFC 4862: not for new connections
	Temporary  bool         // IPv6 privacy address (RFC 8981), or a secondary IPv4 address
}

// A Route is one next hop of a route; a multipath route is several Routes with
// the same Dst and Metric.
type Route struct {
	Dst    netip.Prefix // 0.0.0.0/0 or ::/0 for a default route
	Via    netip.Addr   // zero: on the link
	Link   string
	Metric uint32
}

// A Hop is the way the kernel would take to an address.
type Hop struct {
	Link string
	Src  netip.Addr // the source address that it would use
}
