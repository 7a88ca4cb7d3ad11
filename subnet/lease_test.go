// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"net/netip"
	"testing"
)

func TestLeaseInPools(t *testing.T) {
	t.Parallel()
	v4 := Pool{
		Network: netip.MustParsePrefix("10.244.0.0/16"), Len: 24,
		Min: netip.MustParseAddr("10.244.0.0"), Max: netip.MustParseAddr("10.244.255.0"),
	}
	v6 := Pool{
		Network: netip.MustParsePrefix("fd42::/48"), Len: 64,
		Min: netip.MustParseAddr("fd42::"), Max: netip.MustParseAddr("fd42:0:0:ffff::"),
	}
	inside4, inside6 := Endpoint{Subnet: netip.MustParsePrefix("10.244.7.0/24")}, Endpoint{Subnet: netip.MustParsePrefix("fd42:0:0:7::/64")}
	outside := Endpoint{Subnet: netip.MustParsePrefix("10.1.7.0/24")}
	for _, tt := range []struct {
		name   string
		lease  Lease
		pools  Pools
		want   Lease
		covers bool
	}{
		{"both families", Lease{V4: inside4, V6: inside6}, Pools{v4, v6}, Lease{V4: inside4, V6: inside6}, true},
		{"one is off now", Lease{V4: inside4, V6: inside6}, Pools{V4: v4}, Lease{V4: inside4}, true},
		{"one is new", Lease{V4: inside4}, Pools{v4, v6}, Lease{V4: inside4}, false},
		{"of another network", Lease{V4: outside, V6: inside6}, Pools{v4, v6}, Lease{V6: inside6}, false},
		{"none", Lease{}, Pools{V4: v4}, Lease{}, false},
	} {
		got := tt.lease.In(tt.pools)
		if got != tt.want || got.Covers(tt.pools) != tt.covers {
			t.Errorf("%s: %+v, covers %t; want %+v, %t", tt.name, got, got.Covers(tt.pools), tt.want, tt.covers)
		}
	}
}
