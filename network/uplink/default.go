// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/percale-net/percale/network"
)

// byDefault follows the default routes of the families in use. Where one
// family has none the other decides, if its interface has addresses of both.
func (c *chooser) byDefault() (network.Uplink, bool) {
	routes4, routes6 := c.defaults("IPv4", c.w.V4), c.defaults("IPv6", c.w.V6)
	v4, v6 := c.usable(routes4, "IPv4"), c.usable(routes6, "IPv6")
	if routes4 != nil && routes6 != nil {
		return c.byBoth(v4, v6)
	}
	for _, h := range append(v4, v6...) {
		if up, ok := c.settle(pick{link: h.link, by: "default route " + h.way()}); ok {
			return up, true
		}
	}
	return network.Uplink{}, false
}

// byBoth wants one interface for both families.
func (c *chooser) byBoth(v4, v6 []hop) (network.Uplink, bool) {
	if len(v4) == 0 || len(v6) == 0 {
		return network.Uplink{}, false // and usable has said why
	}
	for _, a := range v4 {
		for _, b := range v6 {
			if a.Link != b.Link {
				continue
			}
			return c.settle(pick{link: a.link, by: fmt.Sprintf("default routes %s and %s", a.way(), b.way())})
		}
	}
	c.miss("the IPv4 default route leads over %s, that of IPv6 over %s", v4[0].Link, v6[0].Link)
	return network.Uplink{}, false
}

// A hop is a default route of which the interface can be used.
type hop struct {
	Route
	link Link
}

func (h hop) way() string {
	way := "without a gateway"
	if h.Via.IsValid() {
		way = "via " + h.Via.String()
	}
	return fmt.Sprintf("%s (metric %d)", way, h.Metric)
}

// defaults returns the default routes of a family, lowest metric first.
func (c *chooser) defaults(family string, on bool) []Route {
	if !on {
		return nil
	}
	var routes []Route
	for _, r := range c.f.Routes {
		if r.Dst.IsValid() && r.Dst.Bits() == 0 && r.Dst.Addr().Is6() == (family == "IPv6") {
			routes = append(routes, r)
		}
	}
	if routes == nil {
		c.miss("there is no %s default route", family)
	}
	slices.SortStableFunc(routes, func(a, b Route) int { return cmp.Compare(a.Metric, b.Metric) })
	return routes
}

// usable returns the hops of the lowest metric that has one of use: more than
// one for a multipath route, in the kernel's order.
func (c *chooser) usable(routes []Route, family string) []hop {
	var hops []hop
	for _, r := range routes {
		if len(hops) > 0 && r.Metric != hops[0].Metric {
			break
		}
		l, ok := c.link(r.Link)
		switch fault := l.fault(); {
		case !ok:
			c.miss("%s default route: there is no interface %q", family, r.Link)
		case fault != "":
			c.miss("%s default route: %s %s", family, l.Name, fault)
		case !best(l, family == "IPv6").IsValid():
			c.miss("%s default route: %s has no usable %s address", family, l.Name, family)
		default:
			hops = append(hops, hop{r, l})
		}
	}
	return hops
}
