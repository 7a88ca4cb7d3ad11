// SPDX-License-Identifier: Apache-2.0

package addresses

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	users := []User{{"ci", 120}, {"web", 40}, {"kube-system", 12}, {"x", 1}}
	v4, v6 := netip.MustParsePrefix("10.42.7.0/24"), netip.MustParsePrefix("fd00::/64")
	const remedy = "give nodes bigger subnets (SubnetLen, or --node-cidr-mask-size of kube-controller-manager; percale plan)"
	for want, c := range map[string]struct {
		use   Use
		users []User
		lasts time.Duration
	}{
		"subnet 10.42.7.0/24 is 81 % used: 205 of 253; biggest users: ci 120, web 40, kube-system 12; at the present rate full in 3h02m. " +
			"Run fewer pods here, or " + remedy: {Use{Subnet: v4, Used: 205, Total: 253}, users, 182 * time.Minute},
		"subnet 10.42.7.0/24 is 99 % used: 252 of 253, 12 of them by sandboxes that no longer exist (percale ipam gc). " +
			"Run fewer pods here, or " + remedy: {Use{Subnet: v4, Used: 252, Total: 253, Gone: 12}, []User{{"ci", 1}, {"web", 1}}, 0},
		"subnet 10.42.7.0/24 is full: 253 of 253 used. New pods of this node fail: delete some, or " + remedy: {
			Use{Subnet: v4, Used: 253, Total: 253}, nil, time.Hour},
	} {
		if got := c.use.Explain(c.users, c.lasts); got != want {
			t.Errorf("Explain:\n%s\nwant\n%s", got, want)
		}
	}
	for _, c := range []struct {
		use        Use
		full, much bool
		count      string
	}{
		{Use{Subnet: v4}, false, false, "0 of 0"},
		{Use{Subnet: v4, Used: 202, Total: 253}, false, false, "202 of 253"},
		{Use{Subnet: v4, Used: 203, Total: 253}, false, true, "203 of 253"},
		{Use{Subnet: v4, Used: 260, Total: 253}, true, true, "260 of 253"}, // odd files among them
		{Use{Subnet: v6, Used: 3, Total: math.MaxUint64}, false, false, "3"},
	} {
		if c.use.IsFull() != c.full || c.use.IsMuch() != c.much || c.use.Count() != c.count {
			t.Errorf("%+v: full %t, much %t, %q; want %t, %t, %q", c.use, c.use.IsFull(), c.use.IsMuch(), c.use.Count(), c.full, c.much, c.count)
		}
	}
}
