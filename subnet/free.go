// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"net/netip"
	"slices"
	"sort"
)

// taken is a set of prefixes of one family, disjoint and in order.
type taken []netip.Prefix

// takenOf returns what prefixes cover, leaving out invalid ones. It changes
// the slice that it is given.
func takenOf(prefixes []netip.Prefix) taken {
	for i, p := range prefixes {
		prefixes[i] = p.Masked()
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare) // by address, the larger one first
	var out taken
	for _, p := range prefixes {
		// A prefix that starts earlier and overlaps p contains it: prefixes nest.
		if n := len(out); p.IsValid() && (n == 0 || !out[n-1].Overlaps(p)) {
			out = append(out, p)
		}
	}
	return out
}

// find returns the place of a prefix that overlaps s; -1 if there is none.
func (t taken) find(s netip.Prefix) int {
	// Only two can: the last one that starts at or before s and contains it,
	// or the first one after it, which s contains.
	i := sort.Search(len(t), func(i int) bool { return s.Addr().Less(t[i].Addr()) })
	for _, k := range [...]int{i - 1, i} {
		if k >= 0 && k < len(t) && t[k].Overlaps(s) {
			return k
		}
	}
	return -1
}

// free returns the first free subnets of p, at most limit. Its cost grows with
// the taken ones, not with the size of the pool.
func (t taken) free(p Pool, limit int) []netip.Prefix {
	var out []netip.Prefix
	for a := p.Min; len(out) < limit; {
		s := netip.PrefixFrom(a, p.Len)
		if !p.Contains(s) {
			break
		}
		end := last(s)
		if k := t.find(s); k < 0 {
			out = append(out, s)
		} else if e := last(t[k]); end.Less(e) {
			end = e
		}
		if a = end.Next(); !a.IsValid() {
			break
		}
	}
	return out
}
