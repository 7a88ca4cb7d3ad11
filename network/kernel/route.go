// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// A hop is one next hop of a route, by link number.
type hop struct {
	index int32
	via   netip.Addr // zero: on the link
}

// A route is a route of the main table as the kernel tells it. Its
// Link is empty; where several hops are named, or one with more than a gateway
// and a link, odd is set.
type route struct {
	network.Route
	first hop
	more  []hop // after the first, of a multipath route
	odd   bool  // network.Route cannot express it
}

// decodeRoute reads an RTM_NEWROUTE message. It is not ok for what is no
// unicast or blackhole route of the main table, and for a cached one.
func decodeRoute(b []byte) (r route, ok bool) {
	if len(b) < routeHdrLen {
		return route{}, false
	}
	fam, bits, flags := b[0], int(b[1]), native.Uint32(b[8:])
	if b[4] != unix.RT_TABLE_MAIN || b[7] != unix.RTN_UNICAST && b[7] != unix.RTN_BLACKHOLE || flags&unix.RTM_F_CLONED != 0 {
		return route{}, false
	}
	dst := netip.IPv6Unspecified()
	if fam == unix.AF_INET {
		dst = netip.IPv4Unspecified()
	} else if fam != unix.AF_INET6 {
		return route{}, false
	}
	r.Protocol, r.Onlink = b[5], flags&unix.RTNH_F_ONLINK != 0
	r.odd = b[2] != 0 || b[3] != 0 // a source prefix, a type of service
	for typ, v := range attrs(b[routeHdrLen:]) {
		switch typ {
		case unix.RTA_DST:
			if a, ok := addrOf(v); ok && family(a) == fam {
				dst = a
			}
		default:
			r.decodeAttr(typ, v)
		}
	}
	if b[7] == unix.RTN_BLACKHOLE {
		r.Blackhole, r.first = true, hop{} // IPv6 names lo
	}
	r.Via = r.first.via
	p, err := dst.Prefix(bits)
	r.Dst = p
	return r, err == nil
}

func (r *route) decodeAttr(typ uint16, v []byte) {
	switch typ {
	case unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA:
		r.first.decodeAttr(typ, v)
	case unix.RTA_PRIORITY:
		r.Metric = u32Of(v)
	case unix.RTA_MULTIPATH:
		r.odd = true
		r.decodeHops(v)
	case unix.RTA_PREF:
		r.odd = r.odd || len(v) > 0 && v[0] != 0
	case unix.RTA_PREFSRC, unix.RTA_SRC, unix.RTA_METRICS, unix.RTA_ENCAP, unix.RTA_FLOW, rtaNextHopID:
		r.odd = true
	}
}

func (h *hop) decodeAttr(typ uint16, v []byte) {
	switch typ {
	case unix.RTA_OIF:
		h.index = int32(u32Of(v))
	case unix.RTA_GATEWAY:
		h.via, _ = addrOf(v)
	case unix.RTA_VIA: // the family, then an address of it
		if len(v) > 2 {
			h.via, _ = addrOf(v[2:])
		}
	}
}

// decodeHops reads RTA_MULTIPATH.
func (r *route) decodeHops(b []byte) {
	for i := 0; len(b) >= nextHopHdrLen; i++ {
		n := int(native.Uint16(b))
		if n < nextHopHdrLen || n > len(b) {
			return
		}
		h := hop{index: int32(native.Uint32(b[4:]))}
		for typ, v := range attrs(b[nextHopHdrLen:n]) {
			h.decodeAttr(typ, v)
		}
		if i == 0 {
			r.first = h
		} else {
			r.more = append(r.more, h)
		}
		b = b[min(align(n), len(b)):]
	}
}

// entry returns r as a network.Route on the given link. One that it cannot
// express gets the form that the package comment describes.
func (r *route) entry(link string) network.Route {
	e := r.Route
	e.Link = link
	if r.odd {
		e.Via, e.Onlink = netip.Addr{}, true
	}
	return e
}

// isOdd reports whether r stands for a route that it cannot express.
func isOdd(r network.Route) bool { return r.Onlink && !r.Via.IsValid() }

// route appends a message that sets or deletes r exactly: destination, metric,
// protocol, gateway and link.
func (e *encoder) route(typ uint16, index int32, r network.Route) error {
	if err := expressible(typ, r); err != nil {
		return err
	}
	set, is4 := typ == unix.RTM_NEWROUTE, r.Dst.Addr().Is4()
	var scope uint8 = unix.RT_SCOPE_NOWHERE // a deletion is of any scope
	switch {
	case set && is4 && !r.Via.IsValid() && !r.Blackhole:
		scope = unix.RT_SCOPE_LINK
	case set:
		scope = unix.RT_SCOPE_UNIVERSE
	}
	var flags uint32
	if r.Onlink {
		flags = unix.RTNH_F_ONLINK
	}
	var kind uint8 = unix.RTN_UNICAST
	if r.Blackhole {
		kind = unix.RTN_BLACKHOLE
	}
	if set {
		e.begin(typ, setOrReplace)
	} else {
		e.begin(typ, 0)
	}
	e.buf = append(e.buf, family(r.Dst.Addr()), uint8(r.Dst.Bits()), 0, 0, unix.RT_TABLE_MAIN, r.Protocol, scope, kind)
	e.buf = native.AppendUint32(e.buf, flags)
	if r.Dst.Bits() > 0 {
		e.addr(unix.RTA_DST, r.Dst.Addr())
	}
	e.gateway(r.Via, is4)
	if !r.Blackhole {
		e.u32(unix.RTA_OIF, uint32(index))
	}
	if r.Metric != 0 {
		e.u32(unix.RTA_PRIORITY, r.Metric)
	}
	e.end()
	return nil
}

// gateway appends a gateway, if there is one, of the route's family or not.
func (e *encoder) gateway(via netip.Addr, is4 bool) {
	switch {
	case !via.IsValid():
	case via.Is4() == is4:
		e.addr(unix.RTA_GATEWAY, via)
	default:
		at := e.nest(unix.RTA_VIA)
		e.buf = native.AppendUint16(e.buf, uint16(family(via)))
		e.appendAddr(via)
		e.close(at)
	}
}

// expressible says what keeps r from being set or deleted by one message.
func expressible(typ uint16, r network.Route) error {
	switch {
	case !r.Dst.IsValid():
		return errors.New("no destination")
	case r.Dst.Addr().Is6() && r.Via.Is4():
		return errors.New("an IPv6 route has no IPv4 gateway")
	case r.Link == "" && !r.Blackhole:
		return errors.New("no link")
	case r.Blackhole && (r.Link != "" || r.Via.IsValid()):
		return errors.New("a blackhole leads nowhere")
	case isOdd(r):
		return errors.New("onlink without a gateway")
	case typ == unix.RTM_NEWROUTE && r.Dst.Addr().Is6() && r.Metric == 0:
		return errors.New("an IPv6 route has a metric of at least 1")
	}
	return nil
}
