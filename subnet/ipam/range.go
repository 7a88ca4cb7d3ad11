// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
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
	return fmt.Sprintf("subnet %s is full: %d of %d addresses used", e.Subnet, e.Used, e.Size)
}

// A Range is the addresses that a node gives to its pods in one family: those
// of its subnet, except the base address (the node's tunnel endpoint), the
// first one (the gateway) and, in IPv4, the last one (broadcast).
type Range struct {
	Subnet netip.Prefix // masked
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
	return Range{p.Masked()}, nil
}

// Gateway returns the address that the node itself has in the subnet.
func (r Range) Gateway() netip.Addr { return r.Subnet.Addr().Next() }

// Size returns the number of addresses for pods; math.MaxUint64 stands for
// that many and more.
func (r Range) Size() uint64 {
	host := r.Subnet.Addr().BitLen() - r.Subnet.Bits()
	if host >= 64 {
		return math.MaxUint64
	}
	n := uint64(1)<<host - 2
	if r.Subnet.Addr().Is4() {
		n--
	}
	return n
}

// Contains reports whether a is an address for a pod.
func (r Range) Contains(a netip.Addr) bool {
	return r.Subnet.Contains(a) && r.Gateway().Less(a) &&
		(a.Is6() || r.Subnet.Contains(a.Next()))
}

// Next returns the first free address after last, round and round, so that an
// address rests as long as can be before it is given again. A last that is not
// in the range (the zero Addr, say) starts from the beginning. Addresses in
// used that are not of the range do not matter. It fails with *FullError.
func (r Range) Next(last netip.Addr, used Set) (netip.Addr, error) {
	mine := uint64(0)
	for a := range used {
		if r.Contains(a) {
			mine++
		}
	}
	if mine >= r.Size() {
		return netip.Addr{}, &FullError{Subnet: r.Subnet, Used: mine, Size: r.Size()}
	}
	a := last
	if !r.Contains(a) {
		a = r.Gateway()
	}
	for { // ends: one address of the range is not in used
		if a = a.Next(); !r.Contains(a) {
			a = r.Gateway().Next()
		}
		if !used[a] {
			return a, nil
		}
	}
}
