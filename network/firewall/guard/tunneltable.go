// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"net/netip"
	"time"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/percale-net/percale/network/firewall"
)

// Offsets in a tunnel packet, in bytes from the UDP header on (RFC 7348,
// section 5): UDP 8, VXLAN 8, inner Ethernet 14, inner IP.
const (
	tunnelVNI   = 8 + 4
	innerType   = 8 + 8 + 12
	innerHeader = 8 + 8 + 14
)

// What is remembered of packets that were refused, and how long.
const (
	refusedMost = 256
	refusedFor  = 10 * time.Minute
)

// tunnel is the table that guards the tunnel.
type tunnel struct {
	*table
	refused [2]*set // by source, and source within
}

func versions() [2]version { return [2]version{ipv4(), ipv6()} }

// newTunnel returns the table as it is when it takes packets of the origins.
// Sets are exact: one per family and prefix length, since one of intervals
// costs the kernel a copy of all for each change.
func newTunnel(name string, t firewall.Tunnel, origins map[firewall.Origin]bool) *tunnel {
	out := &tunnel{table: newTable(name, nft.TableFamilyINet)}
	from := make(map[string]*set)
	judge := out.chain("tunnel")
	for i, v := range versions() {
		key := [2]nft.SetDatatype{nft.TypeIPAddr, nft.TypeIP6Addr}[i]
		for _, bits := range t.Lengths(origins, i == 1) {
			s := out.set(setOf(v, bits), key, key)
			from[s.Name] = s
			judge.rule(fmt.Sprintf("of a peer, from its /%d", bits), v.is(), l4Header(innerType, be16(v.ethertype)...),
				v.sources(bits), in(s), accept())
		}
	}
	for i, v := range versions() {
		key := [2]nft.SetDatatype{nft.TypeIPAddr, nft.TypeIP6Addr}[i]
		s := out.set("refused"+v.name, key, key)
		s.learned, s.Dynamic, s.HasTimeout, s.Timeout, s.Size = true, true, true, refusedFor, refusedMost
		out.refused[i] = s
		judge.rule("remembered", v.is(), l4Header(innerType, be16(v.ethertype)...), v.sources(v.bits()), learn(s))
	}
	judge.rule(whyRefused, drop())

	input := out.base("input", nft.ChainHookInput, nft.ChainPriorityRaw)
	input.rule("tunnel packet", udpTo(uint16(t.Port)), l4Header(tunnelVNI, byte(t.VNI>>16), byte(t.VNI>>8), byte(t.VNI)), jump(judge))
	pods := out.chain("pods")
	for _, n := range [...]firewall.PodNetwork{t.V4, t.V6} {
		if n.Network.IsValid() {
			pods.toNodes(n.Network, n.Node)
		}
	}
	forward := out.base("forward", nft.ChainHookForward, nft.ChainPriorityRaw)
	forward.rule("tunnel packet", udpTo(uint16(t.Port)), jump(pods))
	for o := range origins {
		from[setOf(versionOf(o.Peer), o.Pods.Bits())].want.add(append(o.Peer.AsSlice(), o.Pods.Addr().AsSlice()...))
	}
	return out
}

// setOf names the set of the origins of a version and a prefix length.
func setOf(v version, bits int) string { return fmt.Sprintf("peers%s-%d", v.name, bits) }

// originOf is the inverse of what newTunnel makes of an origin.
func originOf(name string, key []byte) (o firewall.Origin, ok bool) {
	for _, v := range versions() {
		var bits int
		if _, err := fmt.Sscanf(name, "peers"+v.name+"-%d", &bits); err != nil || setOf(v, bits) != name || len(key) != 2*int(v.len) {
			continue
		}
		pods, _ := netip.AddrFromSlice(key[v.len:])
		o.Peer, _ = netip.AddrFromSlice(key[:v.len])
		o.Pods = netip.PrefixFrom(pods, bits)
		return o, o.Pods.IsValid()
	}
	return firewall.Origin{}, false
}

// Why packets are dropped.
const (
	whyRefused = "of no peer, or not from its pods"
	whyPod     = "of a pod, to a node"
)

func (v version) bits() int { return int(v.len) * 8 }

// sources loads the source of a tunnel packet, and that of the packet within as
// far as bits of it count.
func (v version) sources(bits int) []expr.Any {
	inner := uint32(reg) + v.len/4
	e := []expr.Any{
		payload(reg, expr.PayloadBaseNetworkHeader, v.src, v.len),
		payload(inner, expr.PayloadBaseTransportHeader, innerHeader+v.src, v.len),
	}
	if bits < v.bits() {
		base := netip.AddrFrom4([4]byte{})
		if v.len == 16 {
			base = netip.IPv6Unspecified()
		}
		e = append(e, masked(inner, netip.PrefixFrom(base, bits)))
	}
	return e
}

// toNodes drops what goes from pods to nodes: to addresses outside the network,
// and to the first two of each node's subnet. Between pods it may pass.
func (c *chain) toNodes(n netip.Prefix, nodeBits int) {
	v := versionOf(n.Addr())
	addr := func(at uint32, op expr.CmpOp) []expr.Any {
		return []expr.Any{
			payload(reg, expr.PayloadBaseNetworkHeader, at, v.len), masked(reg, n),
			&expr.Cmp{Op: op, Register: reg, Data: n.Masked().Addr().AsSlice()},
		}
	}
	c.rule(whyPod, v.is(), addr(v.src, expr.CmpOpEq), addr(v.dst, expr.CmpOpNeq), drop())
	host := make([]byte, v.len)
	for i := nodeBits; i < v.bits(); i++ {
		host[i/8] |= 0x80 >> (i % 8)
	}
	second := make([]byte, v.len)
	second[v.len-1] = 1
	c.rule(whyPod, v.is(), addr(v.src, expr.CmpOpEq),
		[]expr.Any{
			payload(reg, expr.PayloadBaseNetworkHeader, v.dst, v.len), mask(reg, host),
			&expr.Cmp{Op: expr.CmpOpLte, Register: reg, Data: second},
		}, drop())
}

// A Stranger is a source of tunnel packets that were refused.
type Stranger struct {
	From    netip.Addr // the outer source
	Inner   netip.Addr // the source of the packet within
	Packets uint64
	Ago     time.Duration // since the last one
}

// strangers reads who was refused lately.
func (t *tunnel) strangers(c *nft.Conn) ([]Stranger, error) {
	var all []Stranger
	for i, v := range versions() {
		elements, err := c.GetSetElements(t.refused[i].Set)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if len(e.Key) != 2*int(v.len) {
				continue
			}
			from, _ := netip.AddrFromSlice(e.Key[:v.len])
			inner, _ := netip.AddrFromSlice(e.Key[v.len:])
			s := Stranger{From: from, Inner: inner, Ago: max(refusedFor-e.Expires, 0)}
			if e.Counter != nil {
				s.Packets = e.Counter.Packets
			}
			all = append(all, s)
		}
	}
	return all, nil
}
