// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A State is what a kernel holds, or must hold. As a wish it is whole: an
// address, route, neighbor or forward that is ours and is not in it is to be
// deleted. Links and sysctls are only ever set; a link that is not in a wish
// is left alone.
type State struct {
	Links     map[string]Link
	Addresses map[Address]Address
	Routes    map[RouteKey]Route
	Neighbors map[NeighborKey]Neighbor
	Forwards  map[ForwardKey]Forward
	Sysctls   map[string]Sysctl

	// Others are routes that are not ours to destinations of ours, as far as a
	// kernel has them. They may stand in the way of ours. No wish has any.
	Others map[RouteKey]Route
}

// NewState returns an empty State, ready to be filled.
func NewState() State {
	return State{
		Links:     make(map[string]Link),
		Addresses: make(map[Address]Address),
		Routes:    make(map[RouteKey]Route),
		Neighbors: make(map[NeighborKey]Neighbor),
		Forwards:  make(map[ForwardKey]Forward),
		Sysctls:   make(map[string]Sysctl),
		Others:    make(map[RouteKey]Route),
	}
}

// Changes lists what turns one State into another, each list sorted. It is
// to be applied from top to bottom: an entry is set before the one that it
// replaces is deleted, and routes come after what they lead to, so that no
// packet meets a half-made peer.
type Changes struct {
	SetLinks []Link

	SetAddresses []Address
	DelAddresses []Address
	SetSysctls   []Sysctl

	SetForwards  []Forward
	SetNeighbors []Neighbor
	SetRoutes    []Route

	DelRoutes    []Route
	DelNeighbors []Neighbor
	DelForwards  []Forward
}

// Compare lists what to set and what to delete to turn have into want.
func Compare(have, want State) Changes {
	var c Changes
	for _, name := range slices.Sorted(maps.Keys(want.Links)) {
		if h, ok := have.Links[name]; !ok || LinkChange(h, want.Links[name]) != Keep {
			c.SetLinks = append(c.SetLinks, want.Links[name])
		}
	}
	c.SetAddresses, c.DelAddresses = Diff(have.Addresses, want.Addresses)
	c.SetRoutes, c.DelRoutes = Diff(have.Routes, want.Routes)
	c.SetNeighbors, c.DelNeighbors = Diff(have.Neighbors, want.Neighbors)
	c.SetForwards, c.DelForwards = Diff(have.Forwards, want.Forwards)
	c.SetSysctls, _ = Diff(have.Sysctls, want.Sysctls)

	for _, l := range [][]Address{c.SetAddresses, c.DelAddresses} {
		slices.SortFunc(l, func(a, b Address) int {
			return cmp.Or(cmp.Compare(a.Link, b.Link), comparePrefix(a.Prefix, b.Prefix))
		})
	}
	for _, l := range [][]Route{c.SetRoutes, c.DelRoutes} {
		slices.SortFunc(l, func(a, b Route) int {
			return cmp.Or(comparePrefix(a.Dst, b.Dst), cmp.Compare(a.Metric, b.Metric))
		})
	}
	for _, l := range [][]Neighbor{c.SetNeighbors, c.DelNeighbors} {
		slices.SortFunc(l, func(a, b Neighbor) int {
			return cmp.Or(a.IP.Compare(b.IP), cmp.Compare(a.Link, b.Link))
		})
	}
	for _, l := range [][]Forward{c.SetForwards, c.DelForwards} {
		slices.SortFunc(l, func(a, b Forward) int {
			return cmp.Or(slices.Compare(a.MAC[:], b.MAC[:]), a.Dst.Compare(b.Dst), cmp.Compare(a.Link, b.Link))
		})
	}
	slices.SortFunc(c.SetSysctls, func(a, b Sysctl) int {
		// What concerns all interfaces comes last: the kernel judges each
		// interface by its own settings at that moment.
		return cmp.Or(compareBool(forAll(a), forAll(b)), cmp.Compare(a.Path, b.Path))
	})
	return c
}

// WithoutDeletions returns the changes that set something.
func (c Changes) WithoutDeletions() Changes {
	c.DelAddresses, c.DelRoutes, c.DelNeighbors, c.DelForwards = nil, nil, nil, nil
	return c
}

func forAll(s Sysctl) bool { return strings.Contains(s.Path, "/conf/all/") }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Diff lists what to set and what to delete to turn have into want, in no
// order. An entry whose value differs is set again: keys alone would miss a
// peer that moved.
func Diff[K, V comparable](have, want map[K]V) (set, del []V) {
	for k, w := range want {
		if h, ok := have[k]; !ok || h != w {
			set = append(set, w)
		}
	}
	for k, h := range have {
		if _, ok := want[k]; !ok {
			del = append(del, h)
		}
	}
	return set, del
}

// Len returns the number of changes; 0 means that both states agree.
func (c Changes) Len() int {
	return len(c.SetLinks) + len(c.SetSysctls) +
		len(c.SetAddresses) + len(c.DelAddresses) +
		len(c.SetRoutes) + len(c.DelRoutes) +
		len(c.SetNeighbors) + len(c.DelNeighbors) +
		len(c.SetForwards) + len(c.DelForwards)
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// String says in words what changes: "set 1 link, 2 routes; delete 1 neighbor".
// It is empty if nothing does.
func (c Changes) String() string {
	set := tally(
		count{len(c.SetLinks), "link", "links"}, count{len(c.SetAddresses), "address", "addresses"},
		count{len(c.SetSysctls), "sysctl", "sysctls"}, count{len(c.SetRoutes), "route", "routes"},
		count{len(c.SetNeighbors), "neighbor", "neighbors"}, count{len(c.SetForwards), "FDB entry", "FDB entries"})
	del := tally(
		count{len(c.DelAddresses), "address", "addresses"}, count{len(c.DelRoutes), "route", "routes"},
		count{len(c.DelNeighbors), "neighbor", "neighbors"}, count{len(c.DelForwards), "FDB entry", "FDB entries"})
	var parts []string
	if set != "" {
		parts = append(parts, "set "+set)
	}
	if del != "" {
		parts = append(parts, "delete "+del)
	}
	return strings.Join(parts, "; ")
}

type count struct {
	n         int
	one, many string
}

func tally(counts ...count) string {
	var parts []string
	for _, c := range counts {
		switch c.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+c.one)
		default:
			parts = append(parts, strconv.Itoa(c.n)+" "+c.many)
		}
	}
	return strings.Join(parts, ", ")
}
