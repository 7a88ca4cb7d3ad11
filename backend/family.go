// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"iter"
	"net/netip"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// A Family is one address family as this node has it. Backends loop over
// families, so that IPv4 and IPv6 are one code path.
type Family struct {
	V6    bool
	Pool  subnet.Pool
	Own   subnet.Endpoint
	Local netip.Addr // our address on the uplink
}

// Of returns the same family of another lease.
func (f Family) Of(l subnet.Lease) subnet.Endpoint {
	if f.V6 {
		return l.V6
	}
	return l.V4
}

// Families passes the families that are on, IPv4 first.
func (s Self) Families() iter.Seq[Family] {
	return func(yield func(Family) bool) {
		for _, f := range [...]Family{
			{Pool: s.Pools.V4, Own: s.Lease.V4, Local: s.Uplink.V4},
			{Pool: s.Pools.V6, Own: s.Lease.V6, Local: s.Uplink.V6, V6: true},
		} {
			if f.Pool.Enabled() && !yield(f) {
				return
			}
		}
	}
}

// DirectRoute returns the route to a peer on the uplink's own segment: no
// tunnel, the peer's uplink address is the gateway.
func DirectRoute(self Self, f Family, peer subnet.Endpoint) network.Route {
	return network.Route{
		Dst:      peer.Subnet,
		Via:      peer.Uplink,
		Link:     self.Uplink.Name,
		Metric:   f.Pool.Index(peer.Subnet),
		Protocol: network.Protocol,
	}
}
