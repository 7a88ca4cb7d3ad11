// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"
	"slices"
	"testing"
)

func TestLengths(t *testing.T) {
	t.Parallel()
	origins := make(map[Origin]bool)
	for _, o := range [][2]string{
		{"192.0.2.1", "10.244.1.0/24"}, {"192.0.2.2", "10.244.2.0/24"}, {"192.0.2.2", "192.0.2.2/32"},
		{"192.0.2.3", "10.244.8.0/26"}, {"2001:db8::1", "fd00:1::/64"},
	} {
		origins[Origin{Peer: netip.MustParseAddr(o[0]), Pods: netip.MustParsePrefix(o[1])}] = true
	}
	v4 := Tunnel{V4: PodNetwork{Network: netip.MustParsePrefix("10.244.0.0/16"), Node: 23}}
	for _, tt := range []struct {
		name    string
		tunnel  Tunnel
		origins map[Origin]bool
		v6      bool
		want    []int
	}{
		{"IPv4", Tunnel{}, origins, false, []int{24, 26, 32}},
		{"IPv6", Tunnel{}, origins, true, []int{64}},
		{"nothing", Tunnel{}, nil, true, nil},
		{"no peer yet", v4, nil, false, []int{23, 32}},
		{"no peer yet, family off", v4, nil, true, nil},
		{"both", v4, origins, false, []int{23, 24, 26, 32}},
	} {
		if got := tt.tunnel.Lengths(tt.origins, tt.v6); !slices.Equal(got, tt.want) {
			t.Errorf("%s: lengths = %v; want %v", tt.name, got, tt.want)
		}
	}
}
