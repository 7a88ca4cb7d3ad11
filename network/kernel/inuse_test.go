// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAnsweringIsWhatHasJustAnswered(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ip(t, "neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev up0 nud reachable")
	n.ip(t, "neigh add 2001:db8::7 lladdr 02:00:00:00:00:07 dev up0 nud reachable")
	for i, state := range []string{"stale", "permanent", "noarp", "failed"} {
		n.ip(t, "neigh add 192.0.2.1"+string(rune('0'+i))+" lladdr 02:00:00:00:00:08 dev up0 nud "+state)
	}
	got, err := n.Answering(t.Context())
	want := map[netip.Addr]bool{netip.MustParseAddr("192.0.2.7"): true, netip.MustParseAddr("2001:db8::7"): true}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("Answering = %v, %v; want %v", got, err, want)
	}
}

func TestOtherRoutesAreAllButOurs(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ip(t, "route add 10.0.0.0/8 via 192.0.2.9")
	n.ip(t, "route add 10.42.3.0/24 via 192.0.2.9 proto 112")
	n.ip(t, "route add blackhole 172.16.0.0/12")
	n.ip(t, "route add fd00::/8 via 2001:db8::9")
	n.ip(t, "route add 198.51.100.0/24 nexthop via 192.0.2.7 nexthop via 192.0.2.8")
	all, err := n.OtherRoutes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		text := r.Dst.String() + " " + r.Link
		if r.Via.IsValid() {
			text += " " + r.Via.String()
		}
		got = append(got, text)
	}
	slices.Sort(got)
	want := []string{
		"10.0.0.0/8 up0 192.0.2.9", "172.16.0.0/12 ", "192.0.2.0/24 up0", "198.51.100.0/24 up0 192.0.2.7",
		"2001:db8::/64 up0", "fd00::/8 up0 2001:db8::9",
	}
	if !slices.Equal(got, want) {
		t.Errorf("OtherRoutes:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
