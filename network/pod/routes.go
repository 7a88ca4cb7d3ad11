// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"fmt"
	"net/netip"

	"github.com/percale-net/percale/network"
)

// A Routing says where an interface's packets go.
type Routing struct {
	Ifname   string
	Subnets  []netip.Prefix // of the pod's addresses, masked; at most one per family
	Gateways []netip.Addr   // one for each of Subnets
	Given    []Given        // routes that the configuration names
	Networks []netip.Prefix // the cluster's pod networks
	Default  bool           // the gateways lead to everywhere
}

// A Given route is one that the configuration names.
type Given struct {
	Dst    netip.Prefix
	Via    netip.Addr // zero: the gateway of the family
	Metric uint32     // 0: the kernel's default
}

// Routes returns the pod's routes: the given ones, one to each network, and
// the default route unless one was given. Of two for the same destination and
// metric the first counts; a network of a family that the pod lacks is left
// out. A given route of such a family is an error.
func (r Routing) Routes() ([]network.Route, error) {
	var routes []network.Route
	seen := make(map[network.RouteKey]bool)
	add := func(g Given, via netip.Addr) {
		e := network.Route{Dst: g.Dst.Masked(), Via: via, Link: r.Ifname, Metric: g.Metric, Protocol: network.Protocol}
		if e.Metric == 0 {
			e.Metric = DefaultMetric(e.Dst)
		}
		if !seen[e.Key()] && !r.connected(e.Dst) {
			seen[e.Key()] = true
			routes = append(routes, e)
		}
	}
	for _, g := range r.Given {
		gateway, ok := r.gateway(g.Dst.Addr())
		if !ok {
			return nil, fmt.Errorf("route to %s: the pod has no address of that family", g.Dst)
		}
		if g.Via.IsValid() {
			gateway = g.Via
		}
		add(g, gateway)
	}
	for _, n := range r.Networks {
		if gateway, ok := r.gateway(n.Addr()); ok {
			add(Given{Dst: n}, gateway)
		}
	}
	for _, gateway := range r.Gateways {
		if everywhere, _ := gateway.Prefix(0); r.Default && !r.given(everywhere) {
			add(Given{Dst: everywhere}, gateway)
		}
	}
	return routes, nil
}

// DefaultMetric returns the metric that the kernel gives to a route without
// one.
func DefaultMetric(dst netip.Prefix) uint32 {
	if dst.Addr().Is6() {
		return 1024
	}
	return 0
}

// given reports whether the configuration names a route to dst.
func (r Routing) given(dst netip.Prefix) bool {
	for _, g := range r.Given {
		if g.Dst.Masked() == dst {
			return true
		}
	}
	return false
}

// connected reports whether the kernel itself makes a route to dst: one of
// ours would take its place.
func (r Routing) connected(dst netip.Prefix) bool {
	for _, s := range r.Subnets {
		if s == dst {
			return true
		}
	}
	return false
}

// gateway returns the gateway of a's family.
func (r Routing) gateway(a netip.Addr) (netip.Addr, bool) {
	for _, g := range r.Gateways {
		if g.Is4() == a.Is4() {
			return g, true
		}
	}
	return netip.Addr{}, false
}
