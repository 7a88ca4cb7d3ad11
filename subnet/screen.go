// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Screen tells which leases to believe. What others publish is hostile input:
// each lease is judged alone, and in dual stack each of its families, so that a
// bad one hurts no other. Where two overlap, the one of the pool's length wins,
// then the lower subnet, then a fixed order of the rest.
//
// Our own leases, untaken reservations and families whose pool is off are left
// out silently. The results are in order of subnet and do not depend on the
// order of leases.
func Screen(pools Pools, own Lease, leases []Lease) (peers []Lease, refused []Refusal) {
	peers = candidates(ClaimOf(own), pools, leases)
	v4 := screen{pools.V4, own.V4, peers, func(l *Lease) *Endpoint { return &l.V4 }}.faults()
	v6 := screen{pools.V6, own.V6, peers, func(l *Lease) *Endpoint { return &l.V6 }}.faults()
	if len(v4)+len(v6) == 0 {
		return peers, nil
	}
	for i := range peers {
		l := peers[i]
		if reason, bad := v4[i]; bad {
			refused = append(refused, Refusal{l.subnets(), l.Name(), reason})
			peers[i].V4 = Endpoint{}
		}
		if reason, bad := v6[i]; bad {
			refused = append(refused, Refusal{l.subnets(), l.Name(), reason})
			peers[i].V6 = Endpoint{}
		}
	}
	peers = slices.DeleteFunc(peers, Lease.empty)
	Sort(peers) // a half that is gone changes a lease's place
	slices.SortFunc(refused, func(a, b Refusal) int {
		return cmp.Or(strings.Compare(a.Lease, b.Lease), strings.Compare(a.Reason, b.Reason), strings.Compare(a.Node, b.Node))
	})
	return peers, refused
}

// candidates returns the leases that may be peers, each once and in order, with
// the families that are on.
func candidates(c Claim, pools Pools, leases []Lease) []Lease {
	out := make([]Lease, 0, len(leases))
	for _, l := range leases {
		if Mine(c, l) || l.Reserved() {
			continue
		}
		if !pools.V4.Enabled() || !l.V4.Subnet.IsValid() {
			l.V4 = Endpoint{}
		}
		if !pools.V6.Enabled() || !l.V6.Subnet.IsValid() {
			l.V6 = Endpoint{}
		}
		if !l.empty() {
			out = append(out, l)
		}
	}
	Sort(out)
	return slices.Compact(out)
}

func (l Lease) empty() bool { return !l.V4.Subnet.IsValid() && !l.V6.Subnet.IsValid() }

// A screen judges one family of the peers.
type screen struct {
	pool  Pool
	own   Endpoint
	peers []Lease // in order
	of    func(*Lease) *Endpoint
}

// faults returns why peers are not believed in the family, by their place.
func (s screen) faults() map[int]string {
	if !s.pool.Enabled() {
		return nil
	}
	faults := make(map[int]string)
	good := make([]int, 0, len(s.peers))
	for i := range s.peers {
		e := s.of(&s.peers[i])
		if !e.Subnet.IsValid() {
			continue
		}
		if reason := s.subnetFault(e.Subnet); reason != "" {
			faults[i] = reason
		} else if reason := s.uplinkFault(e.Uplink); reason != "" {
			faults[i] = reason
		} else {
			good = append(good, i)
		}
	}
	s.contests(good, faults)
	return faults
}

// contests adds to faults those of the good peers whose subnet overlaps that of
// a better one.
func (s screen) contests(good []int, faults map[int]string) {
	slices.SortStableFunc(good, func(i, j int) int { // stable: peers are in order
		l, m := &s.peers[i], &s.peers[j]
		a, b := s.of(l).Subnet, s.of(m).Subnet
		if fitA, fitB := a.Bits() == s.pool.Len, b.Bits() == s.pool.Len; fitA != fitB {
			if fitA {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Compare(b), strings.Compare(l.Node, m.Node))
	})
	var fit, rest winners // those of the pool's length come first
	for _, i := range good {
		p := s.of(&s.peers[i]).Subnet
		by := -1
		if p.Bits() == s.pool.Len {
			by = fit.contest(p, i)
		} else if k := fit.subnets.find(p); k >= 0 {
			by = fit.peers[k]
		} else {
			by = rest.contest(p, i)
		}
		if by >= 0 {
			faults[i] = fmt.Sprintf("subnet %s overlaps %s of peer %s; one of the two must take another subnet",
				p, s.of(&s.peers[by]).Subnet, s.peers[by].Name())
		}
	}
}

// winners are the subnets that were granted so far, and the places of the peers
// that hold them.
type winners struct {
	subnets taken
	peers   []int
}

// contest grants p to peer i and returns -1, or returns the place of the peer
// that holds what overlaps it. Calls come in order of subnet, so that only the
// last one can contain p: prefixes nest.
func (w *winners) contest(p netip.Prefix, i int) int {
	if n := len(w.subnets); n > 0 && w.subnets[n-1].Overlaps(p) {
		return w.peers[n-1]
	}
	w.subnets, w.peers = append(w.subnets, p), append(w.peers, i)
	return -1
}
