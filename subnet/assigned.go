// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
)

// ErrUnassigned says that the node must wait: whoever gives subnets to nodes has
// not given it one yet, or nobody knows yet whether there is such a one. What
// Choose returns with it is the lease to keep meanwhile, if pods live in one.
var ErrUnassigned = errors.New("no subnet is assigned to this node yet")

// ErrReassigned says that the cluster gives the node another subnet than the one
// that its pods live in. What Choose returns with it is the lease to keep
// meanwhile. It passes when the pods go.
var ErrReassigned = errors.New("the cluster assigns another subnet than the one that pods of this node live in")

// Assigned are the subnets that the cluster gives to a node. The zero Assigned
// means that it gives none, and that the node is to choose by itself.
type Assigned struct {
	V4, V6 netip.Prefix // masked

	// Pending says why it is not known yet whether there will be any; "": it is.
	Pending string
}

// Given reports whether the cluster has given the node anything.
func (a Assigned) Given() bool { return a.V4.IsValid() || a.V6.IsValid() }

// lease returns what is assigned, as a lease.
func (a Assigned) lease() Lease {
	return Lease{V4: Endpoint{Subnet: a.V4}, V6: Endpoint{Subnet: a.V6}}
}

// Of returns the pools of the families that the node takes part in. A node that
// was given a subnet in one family only has no use for the other one.
func (a Assigned) Of(pools Pools) Pools {
	if a.V4.IsValid() && !a.V6.IsValid() {
		pools.V6 = Pool{}
	}
	if a.V6.IsValid() && !a.V4.IsValid() {
		pools.V4 = Pool{}
	}
	return pools
}

// An Own is what a store says of our own node beside its lease. The zero Own
// says nothing.
type Own struct {
	Assigned Assigned
	V4, V6   Publicity

	// Amiss is true where our entry is ours, and says what its lease tells, but
	// lacks what else the store keeps there. Publish mends it.
	Amiss bool
}

// A Publicity is what an operator wrote down, beside the leases, about the
// address of one family that peers are to use. The zero Addr: nothing.
type Publicity struct {
	Public    netip.Addr // counts as --public-ip, and beats it
	Overwrite netip.Addr // is published instead of any other; changes nothing on this node
}

// assignment is the choice in one family.
type assignment struct {
	pool    Pool
	subnet  netip.Prefix // assigned
	last    netip.Prefix // that the node had
	publish Endpoint
}

// chooseAssigned is Choose where the cluster gives the subnets. What others
// lease does not count: they have to yield.
func chooseAssigned(c Claim, leases []Lease) (own Lease, release []Lease, err error) {
	v4 := assignment{c.Pools.V4, c.Assigned.V4, c.V4.Subnet, c.V4}
	v6 := assignment{c.Pools.V6, c.Assigned.V6, c.V6.Subnet, c.V6}
	if err := errors.Join(v4.fault(), v6.fault()); err != nil {
		return Lease{}, nil, err
	}
	own = Lease{Node: c.Node, Backend: c.Backend, V4: v4.endpoint(v4.subnet), V6: v6.endpoint(v6.subnet)}
	if own.empty() {
		return Lease{}, nil, fmt.Errorf("the cluster assigns %s, of a family that the network configuration does not enable; "+
			`set "EnableIPv4" or "EnableIPv6" there, with its network`, c.Assigned.lease().subnets())
	}
	if c.PodsLive {
		keep := own
		keep.V4, keep.V6 = v4.endpoint(v4.kept()), v6.endpoint(v6.kept())
		if !sameSubnets(keep, own) {
			if err := c.lost(keep, leases); err != nil {
				return Lease{}, nil, err
			}
			return keep, nil, fmt.Errorf("%w: pods live in %s, assigned is %s%s", ErrReassigned, keep.subnets(), own.subnets(), c.rivals(own, leases))
		}
	}
	for _, l := range leases {
		if Mine(c, l) && !sameSubnets(l, own) && !l.Reserved() {
			release = append(release, l)
		}
	}
	return own, release, nil
}

// choosePending is Choose where it is not known who gives the subnets: what pods
// live in is kept, unless another node has it, and nothing else is taken.
func choosePending(c Claim, leases []Lease) (own Lease, release []Lease, err error) {
	err = fmt.Errorf("%w: %s", ErrUnassigned, c.Assigned.Pending)
	if !c.PodsLive {
		return Lease{}, nil, err
	}
	own = Lease{Node: c.Node, Backend: c.Backend, V4: c.V4, V6: c.V6}.Inside(c.Pools)
	if own.empty() {
		return Lease{}, nil, err
	}
	if lost := c.lost(own, leases); lost != nil {
		return Lease{}, nil, lost
	}
	return own, nil, err
}

// lost returns ErrSubnetLost if another node leases a part of keep.
func (c Claim) lost(keep Lease, leases []Lease) error {
	for l, e := range c.others(keep, leases) {
		return fmt.Errorf("%w: %s is leased to %s at %s, as %s", ErrSubnetLost, keep.subnets(), l.Name(), e.Uplink, e.Subnet)
	}
	return nil
}

// rivals says, for an error, who else has a part of own; "" for nobody.
func (c Claim) rivals(own Lease, leases []Lease) string {
	for l, e := range c.others(own, leases) {
		return fmt.Sprintf(" (and %s has %s)", l.Name(), e.Subnet)
	}
	return ""
}

// others passes what leases of other nodes overlap own.
func (c Claim) others(own Lease, leases []Lease) iter.Seq2[Lease, Endpoint] {
	return func(yield func(Lease, Endpoint) bool) {
		for _, l := range leases {
			for e := range l.Endpoints() {
				overlaps := e.Subnet.Overlaps(own.V4.Subnet) || e.Subnet.Overlaps(own.V6.Subnet)
				if overlaps && !Mine(c, l) && !yield(l, e) {
					return
				}
			}
		}
	}
}

// fault says why the assigned subnet cannot be used; nil if it can, or if none
// is assigned, or the family is off.
func (a assignment) fault() error {
	if !a.pool.Enabled() || !a.subnet.IsValid() || a.pool.holds(a.subnet) {
		return nil
	}
	network := a.pool.Network
	key, most := "Network", 30
	if network.Addr().Is6() {
		key, most = "IPv6Network", 126
	}
	if a.subnet.Bits() > most {
		return fmt.Errorf("the cluster assigns %s, which holds no pods; a subnet of length /%d or shorter would be right: "+
			"have the cluster give larger ones, and make this node anew in it", a.subnet, most)
	}
	return fmt.Errorf("the cluster assigns %s, which is no part of the pod network %s: set %q in the network configuration "+
		"to what the cluster takes nodes' subnets from, or have the cluster take them from %s and make this node anew in it",
		a.subnet, network, key, network)
}

// holds reports whether s is a part of the network that can hold pods. The
// pool's length and bounds are for nodes that choose.
func (p Pool) holds(s netip.Prefix) bool {
	return p.Enabled() && s.IsValid() && s == s.Masked() && s.Addr().BitLen() == p.Network.Addr().BitLen() &&
		s.Bits() > p.Network.Bits() && s.Bits() <= s.Addr().BitLen()-2 && p.Network.Contains(s.Addr())
}

// kept returns the subnet to stay in while pods live there.
func (a assignment) kept() netip.Prefix {
	if a.pool.holds(a.last) {
		return a.last
	}
	return a.subnet
}

func (a assignment) endpoint(s netip.Prefix) Endpoint {
	if !a.pool.Enabled() || !s.IsValid() {
		return Endpoint{}
	}
	return Endpoint{Subnet: s, Uplink: a.publish.Uplink, Data: a.publish.Data}
}

// Inside returns l without what is no part of the pods' networks, whatever the
// pools' lengths and bounds: where the cluster assigns subnets, these say
// nothing.
func (l Lease) Inside(pools Pools) Lease {
	if !pools.V4.holds(l.V4.Subnet) {
		l.V4 = Endpoint{}
	}
	if !pools.V6.holds(l.V6.Subnet) {
		l.V6 = Endpoint{}
	}
	return l
}
