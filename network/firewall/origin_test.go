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
	if got, want := Lengths(origins, false), []int{24, 26, 32}; !slices.Equal(got, want) {
		t.Errorf("IPv4 lengths = %v; want %v", got, want)
	}
	if got, want := Lengths(origins, true), []int{64}; !slices.Equal(got, want) {
		t.Errorf("IPv6 lengths = %v; want %v", got, want)
	}
	if got := Lengths(nil, true); got != nil {
		t.Errorf("lengths of nothing = %v; want none", got)
	}
}
