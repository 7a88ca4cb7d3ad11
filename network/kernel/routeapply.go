// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// insist sets a route that the kernel has refused, if there is another way to
// it; else it returns why.
func (c *Conn) insist(index int32, r network.Route, why error) error {
	switch {
	case errors.Is(why, unix.EEXIST):
		return c.uncover(index, r)
	case errors.Is(why, unix.EINVAL) && r.Onlink && r.Via.Is6() && r.Dst.Contains(r.Via) && !r.Dst.IsSingleIP():
		return c.redirect(index, r)
	}
	return why
}

// redirect sets an IPv6 route via a gateway that is inside of its destination,
// which so far leads to another link. The kernel (ip6_route_check_nh_onlink)
// then takes the gateway to be there, and refuses. A host route to the gateway
// that lasts for a moment shows where it is, so that the route can be replaced
// and no packet meets a gap.
func (c *Conn) redirect(index int32, r network.Route) error {
	host := network.Route{
		Dst: netip.PrefixFrom(r.Via, r.Via.BitLen()), Link: r.Link, Metric: r.Metric, Protocol: r.Protocol,
	}
	var hint, set, del encoder
	err := errors.Join(hint.route(unix.RTM_NEWROUTE, index, host), set.route(unix.RTM_NEWROUTE, index, r),
		del.route(unix.RTM_DELROUTE, index, host))
	if err != nil {
		return err
	}
	if err := c.change(hint.buf); err != nil {
		return err
	}
	err = c.change(set.buf)
	if gone := c.change(del.buf); gone != nil {
		err = errors.Join(err, fmt.Errorf("delete %s again: %w", host.Dst, gone))
	}
	return err
}

// uncover sets an IPv4 route that exists already behind another one of the
// same destination and metric, which the kernel then refuses to replace: it
// deletes the hidden one, so that the first can be replaced by it.
func (c *Conn) uncover(index int32, r network.Route) error {
	var del, set encoder
	if err := errors.Join(del.route(unix.RTM_DELROUTE, index, r), set.route(unix.RTM_NEWROUTE, index, r)); err != nil {
		return err
	}
	if err := c.change(del.buf); err != nil && !gone(err) {
		return err
	}
	return c.change(set.buf)
}

// deleteRoutes deletes routes; those that network.Route cannot express need
// to be found first.
func (c *Conn) deleteRoutes(ctx context.Context, x *index, del []network.Route) error {
	var plain, odd []network.Route
	for _, r := range del {
		if isOdd(r) {
			odd = append(odd, r)
		} else {
			plain = append(plain, r)
		}
	}
	errs := []error{apply(ctx, x, job[network.Route]{"delete", plain, linkOfRoute, encodeRoute(unix.RTM_DELROUTE), nil})}
	if len(odd) == 0 {
		return errors.Join(errs...)
	}
	found, err := c.oddRoutes(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, r := range odd {
		link, err := x.of(r.Link)
		for _, f := range found {
			if err == nil && f.entry(r.Link) == r && f.uses(func(i int32) bool { return i == link }) {
				err = c.change(f.deletion)
			}
		}
		if err != nil && !gone(err) {
			errs = append(errs, &EntryError{"delete", r, err})
		}
	}
	return errors.Join(errs...)
}

// uses reports whether one of r's hops goes out on a link that ours is true of.
func (r *route) uses(ours func(index int32) bool) bool {
	return ours(r.first.index) || slices.ContainsFunc(r.more, func(h hop) bool { return ours(h.index) })
}

// A rawRoute is a route with the message that deletes it.
type rawRoute struct {
	route
	deletion []byte
}

func (c *Conn) oddRoutes(ctx context.Context) ([]rawRoute, error) {
	var all []rawRoute
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		odd, err := dump(ctx, c.sock, routeRequest(fam), func(b []byte) (rawRoute, bool) {
			r, ok := decodeRoute(b)
			if !ok || !r.odd {
				return rawRoute{}, false
			}
			return rawRoute{r, deletion(b)}, true
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		all = append(all, odd...)
	}
	return all, nil
}

// deletion turns an RTM_NEWROUTE message into one that deletes the same route:
// it keeps what the kernel compares, and of the next hop either its number or
// what it is, as the kernel wants no more than one of them.
func deletion(b []byte) []byte {
	numbered := false
	for typ := range attrs(b[routeHdrLen:]) {
		numbered = numbered || typ == rtaNextHopID
	}
	var e encoder
	e.begin(unix.RTM_DELROUTE, 0)
	e.buf = append(e.buf, b[:routeHdrLen]...)
	native.PutUint32(e.buf[len(e.buf)-4:], 0) // flags that say how the route fares
	for typ, v := range attrs(b[routeHdrLen:]) {
		switch typ {
		case unix.RTA_DST, unix.RTA_SRC, unix.RTA_PRIORITY, unix.RTA_TABLE, unix.RTA_PREFSRC, rtaNextHopID:
			e.attr(typ, v)
		case unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH:
			if !numbered {
				e.attr(typ, v)
			}
		}
	}
	e.end()
	return e.buf
}

func routeRequest(fam uint8) []byte {
	var e encoder
	e.begin(unix.RTM_GETROUTE, dumpAll)
	// Kernels that do not filter ignore the table.
	e.buf = append(e.buf, fam, 0, 0, 0, unix.RT_TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0)
	e.end()
	return e.buf
}
