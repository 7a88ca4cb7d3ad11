// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"cmp"
	"net/netip"
	"slices"
)

// Config is what a node's rules depend on.
type Config struct {
	Families    []Pods
	Masquerade  bool // pods reach the outside under the node's address
	RandomFully bool // masquerading picks source ports at random
	Forward     bool // accept what is forwarded from and to pods
	TunnelPort  int  // UDP port whose packets are not connection-tracked; 0: none
}

// Pods are the pod addresses of one family.
type Pods struct {
	Network netip.Prefix // of the whole cluster; zero: the family is off
	Subnet  netip.Prefix // of this node; zero: not known yet, nothing is masqueraded
}

// serviceMark is set by kube-proxy on packets that it masquerades itself. Its
// other bits belong to others, so that it is compared under its own mask.
const serviceMark = 0x4000

// Rules returns the rules for c. The order of its families does not matter.
//
// The masquerade rules are those of flannel, and mean: what goes from or to a
// pod of this node keeps its source address, unless it goes to the outside.
// What goes on to a pod elsewhere, from the outside or from a third node, gets
// the node's own, so that the answer comes back this way. So does what leaves
// the pod network, but for multicast.
func Rules(c Config) Ruleset {
	pods := slices.DeleteFunc(slices.Clone(c.Families), func(p Pods) bool { return !p.Network.IsValid() })
	for i, p := range pods {
		pods[i] = Pods{p.Network.Masked(), p.Subnet.Masked()}
	}
	slices.SortFunc(pods, func(a, b Pods) int {
		return cmp.Or(a.Network.Compare(b.Network), a.Subnet.Compare(b.Subnet))
	})
	pods = slices.Compact(pods)

	var r Ruleset
	r.add(Prerouting, untrack(c, pods))
	r.add(Output, untrack(c, pods))
	r.add(Forward, forward(c, pods))
	r.add(Postrouting, masquerade(c, pods))
	return r
}

func (r *Ruleset) add(h Hook, rules []Rule) {
	if len(rules) > 0 {
		r.Chains = append(r.Chains, Chain{Hook: h, Rules: rules})
	}
}

// untrack is for the tunnel's own packets: each connection between pods has a
// UDP source port of its own, and so would fill the table twice.
func untrack(c Config, pods []Pods) []Rule {
	if c.TunnelPort <= 0 || c.TunnelPort > 1<<16-1 {
		return nil
	}
	var rules []Rule
	for _, p := range pods {
		rules = append(rules, Rule{
			Match: Match{Family: FamilyOf(p.Network.Addr()), UDPPort: uint16(c.TunnelPort)},
			Then:  Untrack, Why: "tunnel packets",
		})
	}
	return slices.Compact(rules)
}

func forward(c Config, pods []Pods) []Rule {
	if !c.Forward {
		return nil
	}
	var rules []Rule
	for _, p := range pods {
		rules = append(rules,
			Rule{Match: Match{Src: Net{Prefix: p.Network}}, Then: Accept, Why: "from a pod"},
			Rule{Match: Match{Dst: Net{Prefix: p.Network}}, Then: Accept, Why: "to a pod"})
	}
	return rules
}

func masquerade(c Config, pods []Pods) []Rule {
	if !c.Masquerade {
		return nil
	}
	var rules []Rule
	for _, p := range pods {
		if !p.Subnet.IsValid() {
			continue // without it, packets between pods would be masqueraded
		}
		if rules == nil {
			rules = append(rules, Rule{
				Match: Match{Mark: Mark{serviceMark, serviceMark}},
				Why:   "kube-proxy masquerades it",
			})
		}
		here, cluster, single := Net{Prefix: p.Subnet}, Net{Prefix: p.Network}, unicast(p.Network.Addr())
		outside := Net{Prefix: p.Network, Not: true}
		rules = append(rules,
			Rule{Match: Match{Src: here, Dst: cluster}, Why: "pod of this node to pod"},
			Rule{Match: Match{Src: cluster, Dst: here}, Why: "pod to pod of this node"},
			Rule{Match: Match{Src: outside, Dst: here}, Why: "outside to pod of this node"},
			Rule{Match: Match{Src: cluster, Dst: single}, Then: Masquerade, Random: c.RandomFully, Why: "pod to outside"},
			Rule{Match: Match{Src: outside, Dst: cluster}, Then: Masquerade, Random: c.RandomFully, Why: "outside to pod elsewhere"})
	}
	return rules
}

// unicast matches what is not a multicast group of the address's family.
func unicast(a netip.Addr) Net {
	if a.Is4() {
		return Net{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4), Not: true}
	}
	return Net{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8), Not: true}
}
