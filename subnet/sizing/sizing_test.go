// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"math"
	"net/netip"
	"slices"
	"testing"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestHeadroomIsRoundedUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, percent, want uint64 }{
		{200, 30, 260}, {110, 30, 143}, {1, 30, 2}, {10, 0, 10}, {0, 30, 0}, {100, 100, 200},
		{math.MaxUint64, 0, math.MaxUint64}, {math.MaxUint64, 1, math.MaxUint64}, {math.MaxUint64, 99999, math.MaxUint64},
		{math.MaxUint64 / 2, 100, math.MaxUint64 - 1},
	} {
		if got := grow(c.n, c.percent); got != c.want {
			t.Errorf("%d and %d %% = %d; want %d", c.n, c.percent, got, c.want)
		}
	}
}

func TestPlanOfANetwork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		network     string
		wish        Wish
		len         int
		nodes, pods uint64
		fits, roomy bool
	}{
		{"10.244.0.0/16", Wish{100, 110, 30}, 24, 255, 253, true, true},
		{"10.244.0.0/16", Wish{200, 110, 30}, 24, 255, 253, true, false},  // 260 nodes with 143 pods
		{"10.244.0.0/16", Wish{200, 90, 30}, 25, 511, 125, true, true},    // 117 pods fit a smaller subnet
		{"10.244.0.0/16", Wish{300, 110, 30}, 25, 511, 125, true, false},  // without headroom alone
		{"10.244.0.0/16", Wish{600, 110, 30}, 25, 511, 125, false, false}, // not even so
		{"10.244.0.0/16", Wish{50, 250, 30}, 23, 127, 509, true, true},
		{"10.244.0.0/16", Wish{1, 1000, 0}, 22, 63, 1021, true, true},
		{"10.244.0.0/22", Wish{3, 50, 30}, 25, 7, 125, true, true}, // 4 nodes
		{"10.244.0.0/22", Wish{2, 50, 30}, 24, 3, 253, true, true},
		{"10.244.0.0/24", Wish{3, 110, 30}, 26, 3, 61, false, false},
		{"10.244.7.9/16", Wish{1, 1, 0}, 24, 255, 253, true, true},
		{"10.3.0.0/28", Wish{3, 1, 0}, 30, 3, 1, true, true},
		{"fd00::/48", Wish{5000, 110, 30}, 64, 65535, math.MaxUint64 - 1, true, true},
		{"fd00::/56", Wish{200, 110, 30}, 120, math.MaxUint64, 254, true, true},
		{"fd00::/124", Wish{3, 2, 0}, 126, 3, 2, true, true},
		{"fd00::/8", Wish{math.MaxUint64, 1, 0}, 126, math.MaxUint64, 2, true, true},
	} {
		p := c.wish.In(netip.MustParsePrefix(c.network))
		fits, roomy := p.Fits(c.wish), p.Fits(c.wish.WithHeadroom())
		if p.Len != c.len || p.Nodes() != c.nodes || p.Pods() != c.pods || fits != c.fits || roomy != c.roomy {
			t.Errorf("%+v in %s: /%d, %d nodes, %d pods, fits %t, with headroom %t; want /%d, %d, %d, %t, %t",
				c.wish, c.network, p.Len, p.Nodes(), p.Pods(), fits, roomy, c.len, c.nodes, c.pods, c.fits, c.roomy)
		}
		if p.Network != p.Network.Masked() {
			t.Errorf("network %s has host bits", p.Network)
		}
	}
}

func TestProposal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wish  Wish
		ipv6  bool
		taken []netip.Prefix
		want  string
		len   int
	}{
		{wish: Wish{3, 110, 30}, want: "10.244.0.0/16", len: 24},
		{wish: Wish{200, 110, 30}, want: "10.244.0.0/15", len: 24},
		{wish: Wish{5000, 110, 30}, want: "10.224.0.0/11", len: 24},
		{wish: Wish{100, 250, 30}, want: "10.244.0.0/15", len: 23},
		{wish: Wish{15000, 110, 30}, want: "10.128.0.0/9", len: 24},
		{wish: Wish{1, 1000, 30}, want: "10.244.0.0/16", len: 21},
		{wish: Wish{50000, 1000, 30}}, // 10.0.0.0/8 is not enough
		{wish: Wish{3, 110, 30}, taken: prefixes("10.244.3.0/24"), want: "172.16.0.0/16", len: 24},
		{wish: Wish{3, 110, 30}, taken: prefixes("10.0.0.0/8", "172.16.9.0/24"), want: "100.64.0.0/16", len: 24},
		{wish: Wish{3, 110, 30}, taken: prefixes("10.244.0.0/16", "172.16.0.0/12", "100.64.0.0/10"), want: "10.0.0.0/16", len: 24},
		{wish: Wish{3, 110, 30}, taken: prefixes("0.0.0.0/0", "::/0"), want: "10.244.0.0/16", len: 24},
		{wish: Wish{3, 110, 30}, taken: prefixes("10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10")},
		{wish: Wish{200, 110, 30}, ipv6: true, want: "fd00:10:244::/48", len: 64},
		{wish: Wish{100000, 110, 30}, ipv6: true, want: "fd00:10:244::/47", len: 64},
		{wish: Wish{3, 110, 30}, ipv6: true, taken: prefixes("fd00:10:244::/48"), want: "fd00:10:64::/48", len: 64},
		{wish: Wish{math.MaxUint64, math.MaxUint64, 30}},
	} {
		p, ok := c.wish.Propose(c.ipv6, c.taken)
		if ok != (c.want != "") || ok && (p.Network.String() != c.want || p.Len != c.len) {
			t.Errorf("%+v, IPv6 %t, beside %v: %s /%d, %t; want %s /%d", c.wish, c.ipv6, c.taken, p.Network, p.Len, ok, c.want, c.len)
		}
		if ok && (!p.Fits(c.wish.WithHeadroom()) || p.Len < p.Network.Bits()+2) {
			t.Errorf("%+v: %s /%d does not hold it", c.wish, p.Network, p.Len)
		}
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	got := Overlaps(netip.MustParsePrefix("10.244.0.0/16"), prefixes("0.0.0.0/0", "10.0.0.0/8", "10.244.9.0/24", "10.0.0.0/8", "10.245.0.0/16", "fd00::/8"))
	if want := prefixes("10.0.0.0/8", "10.244.9.0/24"); !slices.Equal(got, want) {
		t.Errorf("overlaps = %v; want %v", got, want)
	}
}
