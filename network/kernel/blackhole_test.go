// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/percale-net/percale/network"
)

func TestBlackhole(t *testing.T) {
	t.Parallel()
	n, want := newNode(t), overlay(2)
	n.reach(t, scope, want)
	for _, s := range []string{"10.0.0.0/24", "fd00::/64"} {
		r := network.Route{Dst: netip.MustParsePrefix(s), Blackhole: true, Metric: 1, Protocol: network.Protocol}
		want.Routes[r.Key()] = r
	}
	n.reach(t, scope, want)
	if all := n.ip(t, "route") + n.ip(t, "-6 route"); strings.Count(all, "blackhole") != 2 {
		t.Errorf("routes hold no two blackholes:\n%s", all)
	}
	n.reach(t, scope, overlay(2))
	if all := n.ip(t, "route") + n.ip(t, "-6 route"); strings.Contains(all, "blackhole") {
		t.Errorf("routes hold a blackhole that is not wanted any more:\n%s", all)
	}
}
