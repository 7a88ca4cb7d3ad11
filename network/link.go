// SPDX-License-Identifier: Apache-2.0

package network

import "net/netip"

// Kinds of link, as the kernel names them (IFLA_INFO_KIND).
const (
	KindVXLAN  = "vxlan"
	KindBridge = "bridge"
	KindVeth   = "veth"
)

// A Link is a network device. It is comparable.
type Link struct {
	Name string
	Kind string // "" for a physical device
	MTU  int    // bytes; 0 in a wish: as it is
	MAC  MAC    // zero in a wish: as it is
	Up   bool   // administratively up

	Master  string // the bridge that this link is a port of; "" for none
	Hairpin bool   // as a bridge port: packets may leave where they came in
	Promisc bool

	VXLAN VXLAN // zero unless Kind is KindVXLAN
}

// A VXLAN holds the attributes of a tunnel device (RFC 7348).
type VXLAN struct {
	VNI      int        // 1 to 1<<24 - 1
	Port     int        // UDP port that it sends to and listens on
	Local    netip.Addr // source of encapsulated packets; its family is the tunnel's
	Underlay string     // name of the link that carries the packets; "" for any
	Learning bool       // the kernel learns FDB entries from traffic
	GBP      bool       // group-based policy extension
}

// A Change says what it takes to turn one link into another.
type Change int

// The changes, from none to most.
const (
	Keep     Change = iota // have is as wanted
	Modify                 // the kernel can change it in place
	Recreate               // delete and add: addresses, routes and entries vanish with it
)

// LinkChange compares a link as it is with the wish for it. Zero MTU and MAC in
// want mean "as it is". A VXLAN's VNI, port, family and GBP are fixed at
// creation; its local address, underlay and learning can be changed in place
// (Linux 5.0 and later). Of one without a local address the family is not told:
// the kernel decides whether it will do.
func LinkChange(have, want Link) Change {
	if want.MTU == 0 {
		want.MTU = have.MTU
	}
	if want.MAC.IsZero() {
		want.MAC = have.MAC
	}
	if have == want {
		return Keep
	}
	h, w := have.VXLAN, want.VXLAN
	fixed := have.Kind != want.Kind || h.VNI != w.VNI || h.Port != w.Port || h.GBP != w.GBP ||
		h.Local.IsValid() && h.Local.Is4() != w.Local.Is4()
	if fixed {
		return Recreate
	}
	return Modify
}
