// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/uplink"
)

// Facts reads what the choice of the uplink depends on. A zero reach asks for
// no way to it; no way is no error.
func (c *Conn) Facts(ctx context.Context, reach netip.Addr) (uplink.Facts, error) {
	links, err := c.links(ctx)
	if err != nil {
		return uplink.Facts{}, err
	}
	addrs, err := c.addresses(ctx)
	if err != nil {
		return uplink.Facts{}, err
	}
	names := make(map[int32]string, len(links))
	byLink := make(map[int32][]uplink.Addr, len(links))
	for _, a := range addrs {
		byLink[a.index] = append(byLink[a.index], uplink.Addr{
			Prefix:     a.prefix,
			Permanent:  a.flags&unix.IFA_F_PERMANENT != 0,
			Deprecated: a.flags&unix.IFA_F_DEPRECATED != 0,
			Temporary:  a.flags&unix.IFA_F_TEMPORARY != 0, // the same bit as IFA_F_SECONDARY
		})
	}
	var f uplink.Facts
	for _, l := range links {
		names[l.index] = l.Name
		f.Links = append(f.Links, uplink.Link{
			Name: l.Name, MTU: l.MTU, Up: l.Up, Loopback: l.loopback, Addrs: byLink[l.index],
		})
	}
	if f.Routes, err = c.uplinkRoutes(ctx, names); err != nil {
		return uplink.Facts{}, err
	}
	if reach.IsValid() {
		f.Reach, err = c.way(reach, names)
	}
	return f, err
}

// uplinkRoutes reads default routes and those without a gateway, except our own,
// each hop as a route of its own.
func (c *Conn) uplinkRoutes(ctx context.Context, names map[int32]string) ([]uplink.Route, error) {
	var out []uplink.Route
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := dump(ctx, c.sock, routeRequest(fam), func(b []byte) (route, bool) {
			if len(b) > 5 && b[5] == network.Protocol {
				return route{}, false // ours, of which there may be thousands, lead to peers
			}
			r, ok := decodeRoute(b)
			return r, ok && !r.Blackhole && (r.Dst.Bits() == 0 || !r.first.via.IsValid() || len(r.more) > 0)
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range all {
			for _, h := range append([]hop{r.first}, r.more...) {
				if r.Dst.Bits() == 0 || !h.via.IsValid() {
					out = append(out, uplink.Route{Dst: r.Dst, Via: h.via, Link: names[h.index], Metric: r.Metric})
				}
			}
		}
	}
	return out, nil
}

// way asks the kernel how it would reach dst; zero if it would not.
func (c *Conn) way(dst netip.Addr, names map[int32]string) (uplink.Hop, error) {
	dst = dst.Unmap().WithZone("")
	var e encoder
	e.begin(unix.RTM_GETROUTE, 0)
	e.buf = append(e.buf, family(dst), uint8(dst.BitLen()), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	e.addr(unix.RTA_DST, dst)
	e.end()
	var w uplink.Hop
	err := c.sock.ask(e.buf, func(b []byte) { w = decodeWay(b, names) })
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH),
		errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL): // prohibit and blackhole routes
		return uplink.Hop{}, nil
	case err != nil:
		return uplink.Hop{}, fmt.Errorf("look up the route to %s: %w", dst, err)
	}
	return w, nil
}

func decodeWay(b []byte, names map[int32]string) (w uplink.Hop) {
	if len(b) < routeHdrLen || b[7] != unix.RTN_UNICAST && b[7] != unix.RTN_LOCAL {
		return uplink.Hop{}
	}
	for typ, v := range attrs(b[routeHdrLen:]) {
		switch typ {
		case unix.RTA_OIF:
			w.Link = names[int32(u32Of(v))]
		case unix.RTA_PREFSRC:
			w.Src, _ = addrOf(v)
		}
	}
	return w
}
