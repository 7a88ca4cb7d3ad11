// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/pod"
)

// PodTable is the name of the tables that guard pods: one of family bridge and
// one of family inet. All agents on a host share them, for no two pods have one
// port.
const PodTable = "percale-guard"

// Offsets in headers, in bytes.
const (
	etherSource = 6 // link layer
	arpSender   = 8 // network layer: MAC, then IPv4 address
	arpSenderIP = 14
	arpTargetIP = 24
	ndTarget    = 8 // transport layer
)

// ICMPv6 types (RFC 4443, 4861, 2710, 3810).
const (
	mldQueryPlus1   = 131 // to 133: reports and "done" of MLD, router solicitation
	routerSolicit   = 133
	routerAdvert    = 134
	neighborSolicit = 135
	neighborAdvert  = 136
	redirect6       = 137
	mldv2Report     = 143
	redirect4       = 5 // of ICMP
)

// pods are the tables that guard pods, with the sets in them.
type pods struct {
	bridge, inet       *table
	ports, inetPorts   *set // ports of guarded pods
	macs, pods4, pods6 *set // ports with the MAC, and the addresses, behind them
}

// newPods returns the tables as they are when they guard the senders.
func newPods(senders []pod.Sender) *pods {
	p := newPodSets(senders)
	p.rules()
	return p
}

// newPodSets is newPods without rules.
func newPodSets(senders []pod.Sender) *pods {
	p := &pods{bridge: newTable(PodTable, nft.TableFamilyBridge), inet: newTable(PodTable, nft.TableFamilyINet)}
	p.ports = p.bridge.set("ports", nft.TypeIFName)
	p.macs = p.bridge.set("macs", nft.TypeIFName, nft.TypeEtherAddr)
	p.pods4 = p.bridge.set("pods4", nft.TypeIFName, nft.TypeEtherAddr, nft.TypeIPAddr)
	p.pods6 = p.bridge.set("pods6", nft.TypeIFName, nft.TypeEtherAddr, nft.TypeIP6Addr)
	p.inetPorts = p.inet.set("ports", nft.TypeIFName)
	for _, s := range senders {
		p.allow(s)
	}
	return p
}

// tables returns both tables.
func (p *pods) tables() []*table { return []*table{p.bridge, p.inet} }

// allow adds what a pod may send from.
func (p *pods) allow(s pod.Sender) {
	port := linkName(s.Port)
	behind := append(port[:len(port):len(port)], s.MAC[:]...)
	behind = append(behind, 0, 0) // a MAC fills two registers
	behind = behind[:len(behind):len(behind)]
	p.ports.want.add(port)
	p.inetPorts.want.add(port)
	p.macs.want.add(behind)
	p.pods6.want.add(append(behind, pod.LinkLocal(s.MAC).AsSlice()...))
	for _, a := range s.Addrs {
		p.addrs(a).want.add(append(behind, a.AsSlice()...))
	}
}

func (p *pods) addrs(a netip.Addr) *set {
	if a.Is4() {
		return p.pods4
	}
	return p.pods6
}

// from loads a key of a set of ports: name, MAC and perhaps an address.
func from(mac expr.Any, addr ...expr.Any) []expr.Any {
	return append([]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, mac}, addr...)
}

// rules fills the chains. What an honest pod sends is found in the first sets
// that are asked, so that it costs one look-up; all else is sorted out after.
func (p *pods) rules() {
	const (
		link = expr.PayloadBaseLLHeader
		net  = expr.PayloadBaseNetworkHeader
		l4h  = expr.PayloadBaseTransportHeader
	)
	ether := payload(reg+regName, link, etherSource, 6)
	at := uint32(reg + regName + regMAC)

	honest4 := p.bridge.chain("honest4")
	honest4.rule("DHCP server", l4(unix.IPPROTO_UDP), l4Header(0, be16(67)...), drop())
	honest4.rule("redirect", l4(unix.IPPROTO_ICMP), l4Header(0, redirect4), drop())
	honest4.rule("own MAC and address", accept())

	honest6 := p.bridge.chain("honest6")
	honest6.rule("DHCP server", l4(unix.IPPROTO_UDP), l4Header(0, be16(547)...), drop())
	honest6.rule("router advertisement", l4(unix.IPPROTO_ICMPV6), l4Header(0, routerAdvert), drop())
	honest6.rule("redirect", l4(unix.IPPROTO_ICMPV6), l4Header(0, redirect6), drop())
	honest6.rule("neighbor advertisement of another's address", l4(unix.IPPROTO_ICMPV6), l4Header(0, neighborAdvert),
		from(ether, payload(at, l4h, ndTarget, 16)), notIn(p.pods6), drop())
	honest6.rule("own MAC and address", accept())

	other := p.bridge.chain("other")
	sender := payload(reg+regName, net, arpSender, 6)
	arp := func(address uint32, more ...[]expr.Any) (parts [][]expr.Any) {
		parts = append(parts, protocol(unix.ETH_P_ARP), netHeader(0, 0, 1, 8, 0, 6, 4)) // IPv4 over Ethernet
		parts = append(parts, more...)
		for _, mac := range []expr.Any{ether, sender} {
			parts = append(parts, from(mac, payload(at, net, address, 4)), in(p.pods4))
		}
		return append(parts, accept())
	}
	other.rule("ARP from own MAC and address", arp(arpSenderIP)...)
	other.rule("ARP probe for own address (RFC 5227)", arp(arpTargetIP, netHeader(arpSenderIP, 0, 0, 0, 0))...)
	own := append(from(ether), in(p.macs)...)
	other.rule("DHCP client", protocol(unix.ETH_P_IP), netHeader(ipv4().src, 0, 0, 0, 0),
		l4(unix.IPPROTO_UDP), l4Header(0, 0, 68, 0, 67), own, accept())
	unspecified := append(protocol(unix.ETH_P_IPV6), netHeader(ipv6().src, make([]byte, 16)...)...)
	unspecified = append(unspecified, l4(unix.IPPROTO_ICMPV6)...)
	other.rule("duplicate address detection of own address", unspecified, l4Header(0, neighborSolicit),
		from(ether, payload(at, l4h, ndTarget, 16)), in(p.pods6), accept())
	other.rule("before it has an address", unspecified, between(0, mldQueryPlus1, routerSolicit), own, accept())
	other.rule("before it has an address", unspecified, l4Header(0, mldv2Report), own, accept())
	other.rule("not from own MAC and address", drop())

	c := p.bridge.base("prerouting", nft.ChainHookPrerouting, nft.ChainPriorityRaw)
	c.rule("IPv4 of a pod", protocol(unix.ETH_P_IP), from(ether, payload(at, net, ipv4().src, 4)), in(p.pods4), goTo(honest4))
	c.rule("IPv6 of a pod", protocol(unix.ETH_P_IPV6), from(ether, payload(at, net, ipv6().src, 16)), in(p.pods6), goTo(honest6))
	c.rule("pod", []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}}, in(p.ports), jump(other))

	// A bridge hands frames to 01:80:c2:00:00:0x to the node as they are. What
	// comes through the bridge, as all else does, has the bridge for its link.
	const multicast = 2 // PACKET_MULTICAST
	c = p.inet.base("prerouting", nft.ChainHookPrerouting, nft.ChainPriorityFirst)
	c.rule("past the bridge", meta(expr.MetaKeyPKTTYPE, multicast),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}}, in(p.inetPorts), drop())
}
