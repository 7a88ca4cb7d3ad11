// SPDX-License-Identifier: Apache-2.0

package ipam

import "net/netip"

// A Set holds addresses.
type Set map[netip.Addr]bool

// Choose takes one free address of each range: all or none. last holds, for
// each range, the address given most recently; it may be shorter.
func Choose(ranges []Range, last []netip.Addr, used Set) ([]netip.Addr, error) {
	chosen := make([]netip.Addr, 0, len(ranges))
	for i, r := range ranges {
		var after netip.Addr
		if i < len(last) {
			after = last[i]
		}
		a, err := r.Next(after, used)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, a)
	}
	return chosen, nil
}
