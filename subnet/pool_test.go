// SPDX-License-Identifier: Apache-2.0

package subnet

import (
	"math"
	"net/netip"
	"slices"
	"testing"
)

var (
	prefix = netip.MustParsePrefix
	addr   = netip.MustParseAddr
)

// pool returns a pool as the network configuration gives it by default: all
// but the first subnet.
func pool(network string, length int) Pool {
	p := Pool{Network: prefix(network), Len: length}
	n := offset{0, 1}.shl(length - p.Network.Bits())
	base := numberOf(p.Network.Addr())
	p.Min = base.add(offset{0, 1}.shl(p.hostBits())).addr(p.Network.Addr())
	p.Max = base.add(n.sub(offset{0, 1}).shl(p.hostBits())).addr(p.Network.Addr())
	return p
}

func TestPoolContains(t *testing.T) {
	v4, v6 := pool("10.3.0.0/16", 24), pool("fc00::/48", 64)
	for _, c := range []struct {
		pool Pool
		s    string
		want bool
	}{
		{v4, "10.3.1.0/24", true},
		{v4, "10.3.255.0/24", true},
		{v4, "10.3.0.0/24", false},     // before Min
		{v4, "10.4.0.0/24", false},     // outside
		{v4, "10.3.1.0/25", false},     // too long
		{v4, "10.3.2.0/23", false},     // too short
		{v4, "10.3.1.7/24", false},     // host bits
		{v4, "fc00:0:0:1::/64", false}, // other family
		{v6, "fc00:0:0:1::/64", true},
		{v6, "fc00:0:0:ffff::/64", true},
		{v6, "fc00::/64", false},
		{v6, "10.3.1.0/24", false},
		{Pool{}, "10.3.1.0/24", false},
	} {
		if got := c.pool.Contains(prefix(c.s)); got != c.want {
			t.Errorf("%v.Contains(%s) = %v; want %v", c.pool.Network, c.s, got, c.want)
		}
	}
	if v4.Contains(netip.Prefix{}) {
		t.Error("the zero prefix is in a pool; want not")
	}
}

func TestPoolIndex(t *testing.T) {
	for _, c := range []struct {
		pool Pool
		s    string
		want uint32
	}{
		{pool("10.3.0.0/16", 24), "10.3.0.0/24", 1},
		{pool("10.3.0.0/16", 24), "10.3.1.0/24", 2},
		{pool("10.3.0.0/16", 24), "10.3.255.0/24", 256},
		{pool("10.0.0.0/8", 24), "10.1.2.0/24", 259},
		{pool("10.0.0.0/8", 24), "10.0.2.0/23", 2}, // a peer's own length counts
		{pool("0.0.0.0/1", 31), "127.255.255.254/31", 1 << 30},
		{pool("fc00::/48", 64), "fc00:0:0:23::/64", 0x24},
		{pool("fc00::/16", 64), "fc00:0:ffff:ffff::/64", 1},    // 2^32 folds to 1
		{pool("fc00::/16", 64), "fc00:1:0:0::/64", 1},          // 2^32+1 folds to 0, which is no metric
		{pool("fc00::/16", 64), "fc00:0002:0000:0004::/64", 7}, // folded
		{pool("fc00::/7", 126), "fc00::10/126", 5},             // low half
		{pool("fc00::/7", 126), "fc00:0:0:4::10/126", 4},       // 2^64+5 folds
	} {
		if got := c.pool.Index(prefix(c.s)); got != c.want {
			t.Errorf("%v.Index(%s) = %d; want %d", c.pool.Network, c.s, got, c.want)
		}
	}
}

func TestPoolIndexIsDistinctAndInverse(t *testing.T) {
	for _, p := range []Pool{pool("10.3.0.0/16", 24), pool("10.16.0.0/12", 26), pool("fd00:1::/48", 64)} {
		seen := map[uint32]bool{}
		for _, s := range takenOf(nil).free(p, math.MaxInt) {
			i := p.Index(s)
			if i == 0 || seen[i] {
				t.Fatalf("%v.Index(%v) = %d, which is 0 or used", p.Network, s, i)
			}
			seen[i] = true
			if back, ok := p.at(p.position(s)); !ok || back != s {
				t.Fatalf("at(position(%v)) = %v, %v; want the same", s, back, ok)
			}
		}
		if uint64(len(seen)) != p.Size() {
			t.Errorf("%v: %d subnets walked; Size = %d", p.Network, len(seen), p.Size())
		}
	}
}

func TestPoolSize(t *testing.T) {
	for _, c := range []struct {
		pool Pool
		want uint64
	}{
		{pool("10.3.0.0/16", 24), 255},
		{pool("10.3.0.0/28", 30), 3},
		{pool("fc00::/48", 64), 65535},
		{pool("fc00::/7", 126), math.MaxUint64},
		{Pool{}, 0},
		{Pool{Network: prefix("10.3.0.0/16"), Len: 24, Min: addr("10.3.9.0"), Max: addr("10.3.1.0")}, 0},
	} {
		if got := c.pool.Size(); got != c.want {
			t.Errorf("%v.Size() = %d; want %d", c.pool.Network, got, c.want)
		}
	}
}

func TestFreeSkipsWhatIsTaken(t *testing.T) {
	for _, c := range []struct {
		name  string
		pool  Pool
		taken []string
		limit int
		want  []string
	}{
		{"empty", pool("10.3.0.0/22", 24), nil, 100, []string{"10.3.1.0/24", "10.3.2.0/24", "10.3.3.0/24"}},
		{"limit", pool("10.3.0.0/16", 24), nil, 2, []string{"10.3.1.0/24", "10.3.2.0/24"}},
		{"larger", pool("10.3.0.0/21", 24), []string{"10.3.0.0/22"}, 2, []string{"10.3.4.0/24", "10.3.5.0/24"}},
		{"smaller", pool("10.3.0.0/22", 24), []string{"10.3.2.128/25", "10.3.2.4/30"}, 9, []string{"10.3.1.0/24", "10.3.3.0/24"}},
		{"nested and not masked", pool("10.3.0.0/22", 24), []string{"10.3.2.0/24", "10.3.2.77/23", "10.3.2.128/25"}, 9, []string{"10.3.1.0/24"}},
		{"all", pool("10.3.0.0/22", 24), []string{"0.0.0.0/0"}, 9, nil},
		{"end of addresses", pool("255.255.252.0/22", 24), nil, 9, []string{"255.255.253.0/24", "255.255.254.0/24", "255.255.255.0/24"}},
		{"large IPv6 hole", pool("fc00::/16", 64), []string{"fc00::/17", "fc00:8000::/64"}, 2, []string{"fc00:8000:0:1::/64", "fc00:8000:0:2::/64"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var used, want []netip.Prefix
			for _, s := range c.taken {
				used = append(used, prefix(s))
			}
			for _, s := range c.want {
				want = append(want, prefix(s))
			}
			for range 3 { // in any order, and with duplicates
				used = append(used, used...)
				slices.Reverse(used)
				if got := takenOf(slices.Clone(used)).free(c.pool, c.limit); !slices.Equal(got, want) {
					t.Errorf("free = %v; want %v", got, want)
				}
			}
		})
	}
}
