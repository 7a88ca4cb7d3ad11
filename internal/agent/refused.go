// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/backend/vxlan"
	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/subnet"
)

// namedStrangers is how many of those whose tunnel packets were refused are
// named.
const namedStrangers = 4

// refused tells of tunnel packets that were refused lately. Those that may be a
// peer's are a problem; others are no more than a note.
func refused(all []guard.Stranger, peers []backend.Peer) (notes []string, problem error) {
	var texts, unknown []string
	for _, s := range all {
		if why := blame(s, peers); why != "" {
			texts = append(texts, why)
		} else {
			unknown = append(unknown, fmt.Sprintf("%s (%d, as from %s)", s.From, s.Packets, s.Inner))
		}
	}
	if len(texts) > 0 {
		problem = errors.New("tunnel packets are dropped: " + some(texts) +
			". If these are to be taken, set \"Guard\": false in the Backend of net-conf: then any host that reaches the tunnel's port can send to pods")
	}
	if len(unknown) > 0 {
		notes = append(notes, "tunnel packets of hosts that are no peers are dropped: "+some(unknown))
	}
	return notes, problem
}

// some joins the first few texts.
func some(texts []string) string {
	more := ""
	if n := len(texts) - namedStrangers; n > 0 {
		more = fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(texts[:min(len(texts), namedStrangers)], "; ") + more
}

// blame says which peer's packets were refused, and what helps; "" if they are
// of none.
func blame(s guard.Stranger, peers []backend.Peer) string {
	for _, p := range peers {
		if e, ok := owns(p.Lease, s.Inner); ok && !slices.Contains(vxlan.Sources(e), s.From) {
			return fmt.Sprintf("%d from %s with addresses of %s (%s), which publishes %s: if they come through a NAT, start percaled there with --public-ip=%s "+
				"(--public-ipv6 for IPv6); if not, that host forges them", s.Packets, s.From, p.Lease.Name(), e.Subnet, e.Uplink, s.From)
		}
	}
	for _, p := range peers {
		for e := range p.Lease.Endpoints() {
			if slices.Contains(vxlan.Sources(e), s.From) {
				return fmt.Sprintf("%d from %s (%s) with the source %s, which is none of its pods' (%s): let it masquerade what it forwards to pods (--ip-masq)",
					s.Packets, p.Lease.Name(), s.From, s.Inner, e.Subnet)
			}
		}
	}
	return ""
}

// owns returns the endpoint of a lease whose subnet an address is in.
func owns(l subnet.Lease, a netip.Addr) (subnet.Endpoint, bool) {
	for e := range l.Endpoints() {
		if e.Subnet.Contains(a) || e.Uplink == a {
			return e, true
		}
	}
	return subnet.Endpoint{}, false
}

// single returns an address as a prefix.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
