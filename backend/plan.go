// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// A Plan is the whole wish for one node's overlay.
type Plan struct {
	State   network.State    // our devices, and the union of all peers' entries
	Peers   []Peer           // in order of subnet
	Refused []subnet.Refusal // peers that are left out, wholly or in one family
}

// A Peer is a peer of the plan with the entries that lead to it.
type Peer struct {
	Lease   subnet.Lease
	Entries Entries
}

// MakePlan joins what b wants for this node and for each peer. It does not
// depend on the order of peers. Where two peers claim the same entry, as
// machines cloned with their VTEP MAC do, the one with the lower subnet keeps
// it and the other is refused.
func MakePlan(b Backend, self Self, peers []subnet.Lease) (Plan, error) {
	state, err := b.Devices(self)
	if err != nil {
		return Plan{}, fmt.Errorf("plan devices of %s: %w", b.Name(), err)
	}
	plan := Plan{State: state, Peers: make([]Peer, 0, len(peers))}
	owner := make(map[network.ForwardKey]string, len(peers))
	peers = slices.Clone(peers)
	subnet.Sort(peers)
	for _, l := range peers {
		var entries Entries
		err := self.unreachable(l)
		if err == nil {
			entries, err = b.Peer(self, l)
		}
		if err == nil {
			err = clash(entries, state, owner)
			if err != nil {
				entries = Entries{}
			}
		}
		if err != nil {
			plan.Refused = append(plan.Refused, refuse(l, err))
		}
		if entries.empty() {
			continue
		}
		for _, f := range entries.Forwards {
			state.Forwards[f.Key()] = f
			owner[f.Key()] = l.Name()
		}
		for _, n := range entries.Neighbors {
			state.Neighbors[n.Key()] = n
		}
		for _, r := range entries.Routes {
			state.Routes[r.Key()] = r
		}
		plan.Peers = append(plan.Peers, Peer{Lease: l, Entries: entries})
	}
	return plan, nil
}

// unreachable says why packets for a peer cannot be sent where it says that it
// is.
func (s Self) unreachable(l subnet.Lease) error {
	for e := range l.Endpoints() {
		if slices.Contains(s.Locals, e.Uplink) {
			return fmt.Errorf("uplink %s is an address of this node", e.Uplink)
		}
		if why := s.Uplink.Unsendable(e.Uplink); why != "" {
			return fmt.Errorf("uplink %s %s", e.Uplink, why)
		}
	}
	return nil
}

func (e Entries) empty() bool {
	return len(e.Forwards) == 0 && len(e.Neighbors) == 0 && len(e.Routes) == 0
}

// clash reports the first of the entries that would take another peer's, or
// our own device's, place. The same MAC towards the same uplink is no clash: it
// is an older lease of one node.
func clash(entries Entries, state network.State, owner map[network.ForwardKey]string) error {
	for _, f := range entries.Forwards {
		if state.Links[f.Link].MAC == f.MAC {
			return fmt.Errorf("VTEP MAC %s is this node's own: was one machine cloned from the other? "+
				"Give each its own --node-name", f.MAC)
		}
		if have, ok := state.Forwards[f.Key()]; ok && have != f {
			return fmt.Errorf("VTEP MAC %s is also published by %s for uplink %s: was one machine cloned from the other? "+
				"Give each its own --node-name", f.MAC, owner[f.Key()], have.Dst)
		}
	}
	for _, n := range entries.Neighbors {
		if have, ok := state.Neighbors[n.Key()]; ok && have != n {
			return fmt.Errorf("neighbor %s is taken by another peer with MAC %s", n.IP, have.MAC)
		}
	}
	for _, r := range entries.Routes {
		if have, ok := state.Routes[r.Key()]; ok && have != r {
			return fmt.Errorf("subnet %s is taken by another peer, via %s", r.Dst, have.Via)
		}
	}
	return nil
}

func refuse(l subnet.Lease, err error) subnet.Refusal {
	var subnets []string
	for e := range l.Endpoints() {
		subnets = append(subnets, e.Subnet.String())
	}
	return subnet.Refusal{Lease: strings.Join(subnets, ", "), Node: l.Name(), Reason: err.Error()}
}
