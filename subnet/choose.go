// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ErrNoFreeSubnet says that a pool has no subnet left. It passes when a lease
// expires or is deleted, or when the network configuration gives more room.
var ErrNoFreeSubnet = errors.New("no free subnet")

// ErrSubnetLost says that pods live in the node's subnet and that another node
// holds it now: the key was deleted and taken while we could not see it. Packets
// for these pods go to that node. It passes when the other lease goes, or the
// pods do.
var ErrSubnetLost = errors.New("another node holds the subnet that pods of this node live in")

// spread is among how many free subnets one is picked. More of them make it
// rarer that nodes which start together want the same one.
const spread = 100

// Choose decides which lease the node publishes, given all leases of the store:
// for each enabled family the subnet that it holds already, else the one that
// it had last if it is free, else a free one, which pick chooses: given n > 0 it
// returns a number from 0 to n-1. A subnet is free if no other node's lease
// overlaps it, whatever its length. In dual stack a new subnet takes the other
// family's position in its network where it can. While pods live in the subnet
// that the node had last, it is that one or ErrSubnetLost.
//
// Where the cluster assigns subnets, these are the choice, whoever else leases
// them: ErrUnassigned until it is known whether it does, ErrReassigned where pods
// live in another subnet than the assigned one. With both, what pods live in is
// the lease to keep.
//
// release lists the node's other leases, to be released once own is published.
// The operator's untaken reservations are not among them.
func Choose(c Claim, leases []Lease, pick func(n int) int) (own Lease, release []Lease, err error) {
	v4, v6 := wish{pool: c.Pools.V4, last: c.V4.Subnet}, wish{pool: c.Pools.V6, last: c.V6.Subnet}
	if !v4.pool.Enabled() && !v6.pool.Enabled() {
		return Lease{}, nil, errors.New("choose subnet: the network configuration enables neither IPv4 nor IPv6")
	}
	switch {
	case c.Assigned.Given():
		return chooseAssigned(c, leases)
	case c.Assigned.Pending != "":
		return choosePending(c, leases)
	}
	var mine []Lease
	for _, l := range leases {
		if Mine(c, l) {
			mine = append(mine, l)
			continue
		}
		v4.taken, v6.taken = append(v4.taken, l.V4.Subnet), append(v6.taken, l.V6.Subnet)
	}
	v4.taken, v6.taken = takenOf(v4.taken), takenOf(v6.taken)
	sortByPreference(mine, c)

	if c.PodsLive {
		if err := errors.Join(v4.pin(c, leases), v6.pin(c, leases)); err != nil {
			return Lease{}, nil, err
		}
	}
	for _, l := range mine {
		v4.hold(l, l.V4.Subnet)
		v6.hold(l, l.V6.Subnet)
	}
	v4.resume()
	v6.resume()
	if err := errors.Join(v4.allocate(v6, pick), v6.allocate(v4, pick)); err != nil {
		return Lease{}, nil, err
	}
	own = Lease{Node: c.Node, Backend: c.Backend, V4: v4.endpoint(c.V4), V6: v6.endpoint(c.V6)}
	for _, l := range mine {
		if !sameSubnets(l, own) && !l.Reserved() {
			release = append(release, l)
		}
	}
	return own, release, nil
}

// sortByPreference puts first the lease that is the least change to keep: the
// one of the subnet that pods live on, then the one that fits most.
func sortByPreference(mine []Lease, c Claim) {
	rank := func(l Lease) (n int) {
		for i, ok := range [...]bool{ // from the least reason to the greatest
			l.Node == c.Node,
			c.Pools.V6.Contains(l.V6.Subnet),
			c.Pools.V4.Contains(l.V4.Subnet),
			c.Pools.V6.Contains(l.V6.Subnet) && l.V6.Subnet == c.V6.Subnet,
			c.Pools.V4.Contains(l.V4.Subnet) && l.V4.Subnet == c.V4.Subnet,
		} {
			if ok {
				n |= 1 << i
			}
		}
		return n
	}
	slices.SortFunc(mine, func(a, b Lease) int {
		return cmp.Or(cmp.Compare(rank(b), rank(a)), compareLeases(a, b))
	})
}

// A wish is the choice in one family.
type wish struct {
	pool  Pool
	taken taken        // by other nodes
	last  netip.Prefix // what the node had last
	got   netip.Prefix // the choice; zero: none yet
}

// hold takes s, which our lease l holds, if it fits. What nobody has stamped
// with our name yet must also be free.
func (w *wish) hold(l Lease, s netip.Prefix) {
	if w.got.IsValid() || !w.pool.Contains(s) {
		return
	}
	if l.Node != "" || w.taken.find(s) < 0 {
		w.got = s
	}
}

// pin takes what the node had last, or says who has it. What lies outside the
// pool is no choice any more.
func (w *wish) pin(c Claim, leases []Lease) error {
	var held error
	for _, l := range leases {
		for e := range l.Endpoints() {
			switch {
			case !e.Subnet.Overlaps(w.last):
			case !Mine(c, l):
				held = fmt.Errorf("%w: %s is leased to %s at %s, as %s", ErrSubnetLost, w.last, l.Name(), e.Uplink, e.Subnet)
			case e.Subnet == w.last:
				w.hold(l, w.last)
			}
		}
	}
	if w.resume(); w.got.IsValid() || !w.pool.Contains(w.last) {
		return nil
	}
	return held
}

// resume takes what the node had last, if it fits and is free.
func (w *wish) resume() { w.take(w.last) }

func (w *wish) take(s netip.Prefix) {
	if w.got.IsValid() || !w.pool.Contains(s) {
		return
	}
	if w.taken.find(s) < 0 {
		w.got = s
	}
}

// allocate takes a free subnet if there is none yet.
func (w *wish) allocate(twin wish, pick func(n int) int) error {
	if w.got.IsValid() || !w.pool.Enabled() {
		return nil
	}
	if twin.got.IsValid() {
		s, _ := w.pool.at(twin.pool.position(twin.got))
		if w.take(s); w.got.IsValid() {
			return nil
		}
	}
	free := w.taken.free(w.pool, spread)
	if len(free) == 0 {
		return w.exhausted()
	}
	w.got = free[pick(len(free))]
	return nil
}

// exhausted says what fills the pool, and the remedy.
func (w *wish) exhausted() error {
	var n int
	for _, t := range w.taken {
		if t.Overlaps(w.pool.Network) {
			n++
		}
	}
	family := ""
	if w.pool.Network.Addr().Is6() {
		family = "IPv6"
	}
	return fmt.Errorf("%w: all %d subnets of length /%d from %s to %s in %s are taken, by %d leases; "+
		"release the leases of nodes that are gone, or give more room (%sNetwork, %sSubnetLen, %sSubnetMin, %sSubnetMax) in the network configuration",
		ErrNoFreeSubnet, w.pool.Size(), w.pool.Len, w.pool.Min, w.pool.Max, w.pool.Network, n, family, family, family, family)
}

// endpoint returns what to publish in the family.
func (w *wish) endpoint(publish Endpoint) Endpoint {
	if !w.got.IsValid() {
		return Endpoint{}
	}
	return Endpoint{Subnet: w.got, Uplink: publish.Uplink, Data: publish.Data}
}
