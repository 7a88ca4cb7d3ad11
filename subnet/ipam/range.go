// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A FullError says that every address of a subnet is in use. It passes when
// pods end; a bigger subnet per node (SubnetLen in the network configuration)
// makes it rarer.
type FullError struct {
	Subnet     netip.Prefix
	Used, Size uint64 // addresses of pods
}

// Error returns the subnet and how full it is.
func (e *FullError) Error() string {
	return fmt.Sprintf("subnet %s is full: %d of %d used", e.Subnet, e.Used, e.Size)
}

// A Range is the addresses that a node gives to its pods in one family: those
// of its subnet, except the base address (the node's tunnel endpoint), the
// first one (the gateway) and, in IPv4, the last one (broadcast).
type Range struct {
	Subnet netip.Prefix // masked
	given  []Span       // sorted, disjoint, not empty: what may be chosen
}

// NewRange returns the range of the subnet that p lies in. It is an error if
// that leaves no address for a pod: IPv4 needs a /30, IPv6 a /126.
func NewRange(p netip.Prefix) (Range, error) {
	if !p.IsValid() {
		return Range{}, errors.New("subnet is not set")
	}
	if host := p.Addr().BitLen() - p.Bits(); host < 2 {
		return Range{}, fmt.Errorf("subnet %s is too small for pods: the longest prefix is /%d", p, p.Addr().BitLen()-2)
	}
	r := Range{Subnet: p.Masked()}
	r.given = []Span{r.hosts()}
	return r, nil
}

// hosts returns all addresses that a pod can have.
func (r Range) hosts() Span {
	s := SpanOf(r.Subnet)
	s.First = s.First.Next().Next()
	if s.Last.Is4() {
		s.Last = s.Last.Prev()
	}
	return s
}

// Restrict returns r with only those addresses that are in one of within (nil:
// in any case) and in none of reserved. Spans of the other family do not
// matter. It is an error if nothing is left.
func (r Range) Restrict(within, reserved []Span) (Range, error) {
	family := func(s Span) bool { return s.First.Is4() != r.Subnet.Addr().Is4() }
	within = slices.DeleteFunc(slices.Clone(within), family)
	given := []Span{r.hosts()}
	if len(within) > 0 {
		given = meet(given, within)
	}
	if len(given) == 0 {
		return Range{}, fmt.Errorf("none of %s is in the subnet %s of this node", list(within), r.Subnet)
	}
	if given = without(given, reserved); len(given) == 0 {
		return Range{}, fmt.Errorf("%s reserves all addresses of the subnet %s of this node", list(reserved), r.Subnet)
	}
	return Range{r.Subnet, given}, nil
}

func list(spans []Span) string {
	var s []string
	for _, span := range spans {
		s = append(s, span.String())
	}
	return strings.Join(s, ", ")
}

// Bounds returns what r is restricted to; nil if it is not.
func (r Range) Bounds() []Span {
	if slices.Equal(r.given, []Span{r.hosts()}) {
		return nil
	}
	return slices.Clone(r.given)
}

// Gateway returns the address that the node itself has in the subnet.
func (r Range) Gateway() netip.Addr { return r.Subnet.Addr().Next() }

// Size returns the number of addresses for pods; math.MaxUint64 stands for
// that many and more.
func (r Range) Size() uint64 {
	var n uint64
	for _, s := range r.given {
		if n += s.size(); n < s.size() {
			return math.MaxUint64
		}
	}
	return n
}

// Contains reports whether a may be chosen for a pod.
func (r Range) Contains(a netip.Addr) bool {
	return slices.ContainsFunc(r.given, func(s Span) bool { return s.Contains(a) })
}

// CanHave reports whether a pod may have a if it asks for it: reserved
// addresses are for such pods.
func (r Range) CanHave(a netip.Addr) bool { return r.hosts().Contains(a) }

// Next returns the first free address after last, round and round, so that an
// address rests as long as can be before it is given again. A last that is not
// in the range (the zero Addr, say) counts by its place. Addresses in used that
// are not of the range do not matter. It fails with *FullError.
//
// rest tells for how long an address should still be left alone; nil means that
// none should. One that should is taken only if there is no other, and then the
// one that rests least from now.
func (r Range) Next(last netip.Addr, used Set, rest func(netip.Addr) time.Duration) (netip.Addr, error) {
	mine := uint64(0)
	for a := range used {
		if r.Contains(a) {
			mine++
		}
	}
	if mine >= r.Size() {
		return netip.Addr{}, &FullError{Subnet: r.Subnet, Used: mine, Size: r.Size()}
	}
	var best netip.Addr
	var least time.Duration
	a := last
	for free := r.Size() - mine; free > 0; { // ends: that many addresses are not in used
		if a = r.after(a); used[a] {
			continue
		}
		free--
		if rest == nil {
			return a, nil
		}
		left := rest(a)
		if left <= 0 {
			return a, nil
		}
		if !best.IsValid() || left < least {
			best, least = a, left
		}
	}
	return best, nil
}

// after returns the address that follows a, the first one after the last.
func (r Range) after(a netip.Addr) netip.Addr {
	if a.IsValid() && a.Is4() == r.Subnet.Addr().Is4() {
		for _, s := range r.given {
			if a.Less(s.First) {
				return s.First
			}
			if a.Less(s.Last) {
				return a.Next()
			}
		}
	}
	return r.given[0].First
}
