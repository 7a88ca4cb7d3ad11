// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/subnet"
)

// wireSource is what we publish besides, and flannel ignores: where our packets
// come from if a NAT does not change it, for a node whose published address is
// that of a NAT.
type wireSource struct {
	Source string `json:"Source"`
}

// withSource adds to published data the address that we send from, unless it is
// the published one.
func withSource(data string, f backend.Family) string {
	if !f.Own.Uplink.IsValid() || !f.Local.IsValid() || f.Own.Uplink == f.Local {
		return data
	}
	return fmt.Sprintf(`%s,"Source":"%s"}`, strings.TrimSuffix(data, "}"), f.Local)
}

// Sources returns the addresses that a peer's tunnel packets may come from: the
// published one, and the one that it says it sends from. A source that cannot
// be one is left out: it would be of use to nobody.
func Sources(peer subnet.Endpoint) []netip.Addr {
	all := []netip.Addr{peer.Uplink}
	var w wireSource
	if len(peer.Data) > maxData || json.Unmarshal([]byte(peer.Data), &w) != nil {
		return all
	}
	a, err := netip.ParseAddr(w.Source)
	if err != nil || a.Is4() != peer.Uplink.Is4() || a.Is4In6() || a.Zone() != "" || a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() || a == peer.Uplink {
		return all
	}
	return append(all, a)
}
