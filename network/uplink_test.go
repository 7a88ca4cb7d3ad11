// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"strings"
	"testing"
)

func TestUnsendable(t *testing.T) {
	u := Uplink{OnLink: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.64/26"),
		netip.MustParsePrefix("203.0.113.4/31"), netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("2001:db8::/64"),
	}}
	for addr, want := range map[string]string{
		"192.0.2.7": "", "192.0.2.0": "network 192.0.2.0/24", "192.0.2.255": "broadcast address of 192.0.2.0/24",
		"198.51.100.64": "network", "198.51.100.127": "broadcast", "198.51.100.255": "",
		"203.0.113.4": "", "203.0.113.5": "", "203.0.113.9": "", "2001:db8::": "", "10.0.0.255": "",
	} {
		got := u.Unsendable(netip.MustParseAddr(addr))
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("Unsendable(%s) = %q; want %q in it", addr, got, want)
		}
	}
}
