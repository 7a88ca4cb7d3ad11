// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/percale-net/percale/network"
)

// A Memory is what of the pods' bridge nothing else tells once it is gone, and
// what it takes to make it again as its pods know it. The zero Memory knows of
// no bridge. What it points to is not changed once it is made.
type Memory struct {
	Name     string
	MAC      network.MAC // as it stands in the pods' neighbor caches
	Promisc  bool
	Gateways []netip.Prefix  // of our subnets, earlier ones among them, sorted
	Ports    map[string]bool // the node's ends of its pods, which exist, by name: hairpin
}

// A Sight is what Learn sees of a node.
type Sight struct {
	Links     map[string]network.Link // all
	Addresses []network.Address       // all, or those that are gateways
	Gateways  []netip.Prefix          // of the subnets that this node has
	Earlier   []netip.Prefix          // of subnets that it had before
}

// Learn returns what to remember after m, having seen s. The pods' bridge is
// known by what it is, whatever its name and whoever made it: a bridge that
// holds a gateway address of ours. One that lost it is known by the name that it
// had. It is forgotten once it is gone and no pod is left that it had.
func Learn(m Memory, s Sight) Memory {
	name := m.find(s)
	if name == "" {
		return Memory{}
	}
	now := Memory{Name: name, MAC: m.MAC, Promisc: m.Promisc, Ports: m.portsOf(name, s)}
	have, ok := s.Links[name]
	switch {
	case ok && have.Kind == network.KindBridge:
		now.MAC, now.Promisc = have.MAC, have.Promisc
	case len(now.Ports) == 0:
		return Memory{}
	}
	now.Gateways = slices.Clone(s.Gateways)
	for _, g := range slices.Concat(m.Gateways, s.Earlier) {
		held := slices.Contains(s.Addresses, network.Address{Link: name, Prefix: g})
		inUse := len(now.Ports) > 0 && m.Name == name && slices.Contains(m.Gateways, g)
		if held || inUse {
			now.Gateways = append(now.Gateways, g)
		}
	}
	slices.SortFunc(now.Gateways, netip.Prefix.Compare)
	now.Gateways = slices.Compact(now.Gateways)
	return now
}

// find returns the name of the pods' bridge: of the one with a gateway of a
// present subnet, else of the one that was it, else of one with a gateway of an
// earlier subnet; "" for none.
func (m Memory) find(s Sight) string {
	const earlier, same, present = 1, 2, 4
	rank := make(map[string]int)
	if m.Name != "" {
		rank[m.Name] = same
	}
	for _, a := range s.Addresses {
		switch {
		case s.Links[a.Link].Kind != network.KindBridge:
		case slices.Contains(s.Gateways, a.Prefix):
			rank[a.Link] |= present
		case slices.Contains(s.Earlier, a.Prefix), slices.Contains(m.Gateways, a.Prefix):
			rank[a.Link] |= earlier
		}
	}
	best := ""
	for _, name := range slices.Sorted(maps.Keys(rank)) {
		if best == "" || rank[name] > rank[best] {
			best = name
		}
	}
	return best
}

// portsOf returns the bridge's ports that lead to pods, and those that it had
// and that are no other link's port now.
func (m Memory) portsOf(bridge string, s Sight) map[string]bool {
	ports := make(map[string]bool)
	for name, l := range s.Links {
		if l.Kind != network.KindVeth {
			continue // plugged in by an operator, who may take it out
		}
		hairpin, had := m.Ports[name]
		switch {
		case l.Master == bridge:
			ports[name] = l.Hairpin
		case l.Master == "" && had:
			ports[name] = hairpin
		}
	}
	return ports
}
