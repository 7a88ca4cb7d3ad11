// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"net/netip"
	"slices"
)

// protocolBoot is what routes bear that no daemon has claimed (RTPROT_BOOT):
// those of "ip route add", and of flannel.
const protocolBoot = 3

// Adopt makes ours, so that Compare deletes them, those routes of others in have
// that say what a gateway route of want says, but bear neither mark nor metric:
// flannel's, which would go stale and win over ours. It takes none before ours
// stands beside it, and returns how many wait for that.
func Adopt(have, want State) (waiting int) {
	if len(have.Others) == 0 {
		return 0
	}
	ours := byDestination(want)
	for k, f := range have.Others {
		for _, r := range ours[f.Dst] {
			switch {
			case !isBare(f) || k == r.Key() || r.Onlink || !r.Via.IsValid() || f.Via != r.Via || f.Link != r.Link:
			case have.Routes[r.Key()] != r:
				waiting++
			default:
				have.Routes[k] = f
				delete(have.Others, k)
			}
		}
	}
	return waiting
}

// Shadows returns the routes of others in have that the kernel prefers to routes
// of want to the same destination, in order.
func Shadows(have, want State) []Route {
	if len(have.Others) == 0 {
		return nil
	}
	var shadows []Route
	ours := byDestination(want)
	for _, f := range have.Others {
		if slices.ContainsFunc(ours[f.Dst], func(r Route) bool { return f.Metric < r.Metric }) {
			shadows = append(shadows, f)
		}
	}
	slices.SortFunc(shadows, func(a, b Route) int {
		return cmp.Or(comparePrefix(a.Dst, b.Dst), cmp.Compare(a.Metric, b.Metric))
	})
	return shadows
}

// isBare reports whether f has what the kernel gives a route of which only
// destination, gateway and link are told.
func isBare(f Route) bool {
	metric := uint32(0)
	if f.Dst.Addr().Is6() {
		metric = 1024 // IP6_RT_PRIO_USER
	}
	return f.Protocol == protocolBoot && f.Metric == metric && !f.Onlink && !f.Blackhole
}

func byDestination(s State) map[netip.Prefix][]Route {
	all := make(map[netip.Prefix][]Route, len(s.Routes))
	for _, r := range s.Routes {
		all[r.Dst] = append(all[r.Dst], r)
	}
	return all
}
