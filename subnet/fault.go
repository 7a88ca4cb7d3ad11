// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"fmt"
	"net/netip"
)

// subnetFault says what is wrong with a peer's subnet on its own; "" if nothing
// is.
func (s screen) subnetFault(p netip.Prefix) string {
	network := s.pool.Network
	switch {
	case p.Addr().BitLen() != network.Addr().BitLen():
		return fmt.Sprintf("subnet %s is of the wrong address family; one in %s would be right", p, network)
	case p != p.Masked():
		return fmt.Sprintf("subnet %s has host bits set; %s would be right", p, p.Masked())
	case p.Addr().IsMulticast():
		return fmt.Sprintf("subnet %s is multicast; one in %s would be right", p, network)
	case p.Bits() <= network.Bits() && p.Overlaps(network):
		return fmt.Sprintf("subnet %s is as large as the pod network %s or larger; a /%d in it would be right", p, network, s.pool.Len)
	case !network.Contains(p.Addr()):
		return fmt.Sprintf("subnet %s lies outside the pod network %s; a /%d in it would be right", p, network, s.pool.Len)
	case s.own.Subnet.IsValid() && s.own.Subnet.Overlaps(p):
		return fmt.Sprintf("subnet %s overlaps our own subnet %s; that node must take another one", p, s.own.Subnet)
	}
	return ""
}

// uplinkFault says what is wrong with a peer's uplink; "" if nothing is.
func (s screen) uplinkFault(a netip.Addr) string {
	const remedy = "the address at which other nodes reach that node would be right"
	network := s.pool.Network
	family := "IPv4"
	if network.Addr().Is6() {
		family = "IPv6"
	}
	switch {
	case !published(a):
		return fmt.Sprintf("no %s uplink address is published; %s", family, remedy)
	case a.BitLen() != network.Addr().BitLen() || a.Is4In6() || a.Zone() != "":
		return fmt.Sprintf("uplink %s is not a plain %s address; %s", a, family, remedy)
	case a.IsMulticast():
		return fmt.Sprintf("uplink %s is a multicast address; %s", a, remedy)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("uplink %s is the broadcast address; %s", a, remedy)
	case a.IsLoopback():
		return fmt.Sprintf("uplink %s is a loopback address; %s", a, remedy)
	case a.Is4() && a.IsLinkLocalUnicast():
		return fmt.Sprintf("uplink %s is a link-local address; %s", a, remedy)
	case a == s.own.Uplink:
		return fmt.Sprintf("uplink %s is our own; each node needs an uplink address of its own (are the nodes clones, or behind one NAT address?)", a)
	case network.Contains(a):
		return fmt.Sprintf("uplink %s lies inside the pod network %s; %s", a, network, remedy)
	}
	return ""
}
