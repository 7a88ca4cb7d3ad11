// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"time"
)

// A Set holds addresses.
type Set map[netip.Addr]bool

// A Choice is what the choice of a pod's addresses depends on.
type Choice struct {
	Ranges []Range
	Wanted []netip.Addr // addresses that the pod asks for, in the place of one of their range
	Last   []netip.Addr // for each range, the address given most recently; may be shorter
	Used   Set
	Rest   func(netip.Addr) time.Duration // for how long an address should still be left alone; nil: not at all
}

// Choose takes one address of each range: all or none. It fails with *FullError
// where a range has no free one, with *TakenError where a wanted one is used.
func (c Choice) Choose() ([]netip.Addr, error) {
	chosen := make([]netip.Addr, 0, len(c.Ranges))
	for i, r := range c.Ranges {
		var last netip.Addr
		if i < len(c.Last) {
			last = c.Last[i]
		}
		a, ok := c.wanted(r)
		var err error
		switch {
		case !ok:
			a, err = r.Next(last, c.Used, c.Rest)
		case c.Used[a]:
			err = &TakenError{a}
		}
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, a)
	}
	return chosen, nil
}

// wanted returns the address that is asked for in a range.
func (c Choice) wanted(r Range) (netip.Addr, bool) {
	for _, a := range c.Wanted {
		if r.CanHave(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// A TakenError says that an address that a pod asks for belongs to another one.
// It passes when that pod ends.
type TakenError struct{ Addr netip.Addr }

func (e *TakenError) Error() string { return "address " + e.Addr.String() + " is in use" }
