// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// Answering returns the addresses on links of this namespace that have shown to
// be there within the last seconds (NUD_REACHABLE). That one is not among them
// says nothing: nobody may have asked.
func (c *Conn) Answering(ctx context.Context) (map[netip.Addr]bool, error) {
	answering := make(map[netip.Addr]bool)
	r := reader{c: c}
	requests := [][]byte{r.neighborRequest(unix.AF_INET), r.neighborRequest(unix.AF_INET6)}
	err := c.sock.stream(ctx, requests, func() { clear(answering) }, func(b []byte) {
		n, ok := decodeNeighbor(b)
		if ok && n.family != unix.AF_BRIDGE && n.state&unix.NUD_REACHABLE != 0 && n.ip.IsValid() {
			answering[n.ip] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list neighbors: %w", err)
	}
	return answering, nil
}

// OtherRoutes returns the unicast routes of the main table that do not bear our
// mark, those included that the kernel makes of addresses. Of a route with
// several hops, the first one's gateway and link are told.
func (c *Conn) OtherRoutes(ctx context.Context) ([]network.Route, error) {
	links, err := c.links(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[int32]string, len(links))
	for _, l := range links {
		names[l.index] = l.Name
	}
	var all []network.Route
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		routes, err := dump(ctx, c.sock, routeRequest(fam), func(b []byte) (network.Route, bool) {
			r, ok := decodeRoute(b)
			r.Link = names[r.first.index]
			return r.Route, ok && r.Protocol != network.Protocol && !r.Dst.Addr().IsLinkLocalUnicast()
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		all = append(all, routes...)
	}
	return all, nil
}
