// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"maps"
	"net/netip"
	"strings"

	"github.com/percale-net/percale/network"
)

// Want returns what the node must hold of the bridge that m remembers, having
// learned it from s: the bridge, its addresses and settings, and the pods' ports
// on it. mtu is that of new pods, in bytes. What else is on the bridge is not
// ours, but for the gateways that m remembers.
//
// A gateway of an earlier subnet stays as long as pods do, which leave through
// it. After that its route would lead packets astray that are for the node which
// may have that subnet by then.
func (m Memory) Want(s Sight, mtu int) network.State {
	if m.Name == "" {
		return network.NewState()
	}
	b := Bridge{Name: m.Name, MTU: m.mtu(s, mtu), Gateways: s.Gateways, Promisc: m.Promisc, IPv6: true}
	if len(m.Ports) > 0 {
		b.Gateways = m.Gateways
	}
	want := b.State()
	// Whether the node forwards does not depend on a bridge.
	maps.DeleteFunc(want.Sysctls, func(path string, _ network.Sysctl) bool { return !m.Owns(network.Sysctl{Path: path}) })
	if leastMTU(b.Gateways) == leastIPv6 {
		a := m.linkLocal(s)
		want.Addresses[a] = a
	}
	link, have := want.Links[m.Name], s.Links[m.Name]
	link.MAC = m.MAC
	if have.Kind != network.KindBridge {
		// Its ports come when it has its settings, some of which count from
		// the moment that it has a port that is up.
		want.Links[m.Name] = link
		return want
	}
	link.Master, link.Hairpin = have.Master, have.Hairpin // as an operator has it
	want.Links[m.Name] = link
	for name, hairpin := range m.Ports {
		port := s.Links[name]
		port.MTU, port.MAC = 0, network.MAC{} // as they are
		port.Up, port.Master, port.Hairpin = true, m.Name, hairpin
		want.Links[name] = port
	}
	return want
}

// linkLocal returns an address that the bridge must have to ask for the MAC of
// a pod's IPv6 address: the one that it has, or else the one that the kernel
// gives to such a MAC (RFC 4291, appendix A), though not again where it was
// deleted.
func (m Memory) linkLocal(s Sight) network.Address {
	for _, a := range s.Addresses {
		if a.Link == m.Name && a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast() {
			return a
		}
	}
	addr := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80,
		8: m.MAC[0] ^ 2, 9: m.MAC[1], 10: m.MAC[2], 11: 0xff, 12: 0xfe, 13: m.MAC[3], 14: m.MAC[4], 15: m.MAC[5]})
	return network.Address{Link: m.Name, Prefix: netip.PrefixFrom(addr, 64)}
}

// Owns reports whether a link, address or setting is one that Want may return.
func (m Memory) Owns(entry any) bool {
	if m.Name == "" {
		return false
	}
	switch e := entry.(type) {
	case network.Link:
		_, port := m.Ports[e.Name]
		return port || e.Name == m.Name
	case network.Address:
		return e.Link == m.Name
	case network.Sysctl:
		return strings.Contains(e.Path, "/conf/"+m.Name+"/")
	}
	return false
}

// mtu returns what the bridge is to carry: the smallest of what its ports do.
// To a pod that takes less than others, since it was made when the uplink
// carried less, a larger MTU would have the bridge drop packets in silence,
// where the node must tell the sender that they are too big.
func (m Memory) mtu(s Sight, pods int) int {
	mtu := pods
	for name, l := range s.Links {
		if _, port := m.Ports[name]; port || l.Master == m.Name {
			mtu = min(mtu, l.MTU)
		}
	}
	return max(mtu, leastMTU(m.Gateways))
}

// leastIPv6 is what a link must carry, in bytes, or IPv6 leaves it and takes the
// addresses with it (RFC 8200, section 5).
const leastIPv6 = 1280

// leastMTU returns what a bridge with these gateways must carry at least.
func leastMTU(gateways []netip.Prefix) int {
	for _, g := range gateways {
		if g.Addr().Is6() {
			return leastIPv6
		}
	}
	return 68 // RFC 791
}
