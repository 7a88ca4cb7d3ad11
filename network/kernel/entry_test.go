// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// newOverlay is a node with an overlay device and n peers of both families.
func newOverlay(t *testing.T, peers int) (node, network.State) {
	t.Helper()
	n, want := newNode(t), overlay(peers)
	n.reach(t, scope, want)
	return n, want
}

// foreignRoutes are arguments of ip, a line each, on a node with two peers.
var foreignRoutes = []struct{ name, routes string }{
	{"flannel's", "route add 10.0.1.0/24 via 10.0.1.0 dev flannel.1 onlink"},
	{"flannel's IPv6", "-6 route add fd00:0:0:1::/64 via fd00:0:0:1:: dev flannel.1 onlink"},
	{"on the link, our metric", "route add 10.0.1.0/24 dev flannel.1 metric 1"},
	{"on the link, our metric, IPv6", "-6 route add fd00:0:0:1::/64 dev flannel.1 metric 1"},
	{"other gateway, our metric", "route add 10.0.1.0/24 via 10.9.9.9 dev flannel.1 onlink metric 1"},
	{"other gateway, our metric, IPv6", "-6 route add fd00:0:0:1::/64 via fd00::9 dev flannel.1 onlink metric 1"},
	{"several hops", "route add 10.0.1.0/24 nexthop via 10.9.9.9 dev flannel.1 onlink nexthop via 10.9.9.8 dev flannel.1 onlink"},
	{"several hops, our metric", "route add 10.0.1.0/24 metric 1 nexthop via 10.9.9.9 dev flannel.1 onlink nexthop via 10.9.9.8 dev flannel.1 onlink"},
	{"several hops, other link first", "route add 10.7.0.0/16 nexthop via 192.0.2.9 dev up0 nexthop via 10.9.9.8 dev flannel.1 onlink"},
	{"several hops, IPv6", "-6 route add fd77::/64 nexthop via fd00::9 dev flannel.1 onlink nexthop via fd00::8 dev flannel.1 onlink"},
	{"source", "route add 10.0.1.0/24 via 10.0.1.0 dev flannel.1 onlink metric 1 proto 112 src 10.0.0.0"},
	{"source, unwanted", "route add 10.7.0.0/16 dev flannel.1 src 10.0.0.0"},
	{"metrics on ours", "route add 10.0.1.0/24 via 10.0.1.0 dev flannel.1 onlink metric 1 proto 112 mtu 1000"},
	{"metrics on ours, IPv6", "-6 route add fd00:0:0:1::/64 via fd00:0:0:1:: dev flannel.1 onlink metric 1 proto 112 mtu 1300"},
	{"metrics", "route add 10.7.0.0/16 dev flannel.1 mtu 1000"},
	{"metrics, IPv6", "-6 route add fd77::/64 dev flannel.1 mtu 1300"},
	{"type of service", "route add 10.7.0.0/16 tos 0x10 dev flannel.1"},
	{"IPv6 gateway", "route add 10.7.0.0/16 via inet6 fd00::9 dev flannel.1 onlink"},
	{"nexthop object", "nexthop add id 7 via 10.9.9.9 dev flannel.1 onlink\nroute add 10.7.0.0/16 nhid 7"},
	{"nexthop object, IPv6", "nexthop add id 7 via fd00::9 dev flannel.1 onlink\n-6 route add fd77::/64 nhid 7"},
	{"before ours", "route prepend 10.0.1.0/24 via 10.9.9.9 dev flannel.1 onlink metric 1"},
	{"default", "route add default dev flannel.1 metric 5"},
	{"ours, elsewhere", "route add 10.7.0.0/16 via 192.0.2.9 dev up0 proto 112"},
	{"ours, elsewhere, several hops", "route add 10.7.0.0/16 proto 112 nexthop via 192.0.2.9 dev up0 nexthop via 192.0.2.8 dev up0"},
}

// TestForeignRoutes takes over a device with routes of others, the way a node
// that ran another agent has them.
func TestForeignRoutes(t *testing.T) {
	t.Parallel()
	for _, test := range foreignRoutes {
		for _, before := range []bool{true, false} { // whether ours are there already
			t.Run(fmt.Sprintf("%s/ours first %v", test.name, before), func(t *testing.T) {
				t.Parallel()
				n, want := newNode(t), overlay(2)
				bare := want
				bare.Routes = nil
				n.reach(t, scope, bare)
				// None of our business: another's route, and one of an agent
				// like us with another network.
				n.ip(t, "route add 198.51.100.0/24 via 192.0.2.9 dev up0")
				n.ip(t, "route add 172.20.1.0/24 via 192.0.2.9 dev up0 proto 112 metric 2")
				if before {
					n.reach(t, scope, want)
				}
				for args := range strings.Lines(test.routes) {
					if before && strings.Contains(args, "10.0.1.0/24") && strings.Contains(args, "metric 1") && strings.Contains(args, "add") ||
						before && strings.Contains(args, "fd00:0:0:1::/64") && strings.Contains(args, "metric 1") {
						args = strings.Replace(args, "route add", "route replace", 1)
					}
					n.ip(t, args)
				}
				ch := network.Compare(n.read(t, scope), want)
				if ch.Len() == 0 {
					t.Fatalf("the foreign route is not seen; routes:\n%s%s", n.ip(t, "route"), n.ip(t, "-6 route"))
				}
				n.reach(t, scope, want)
				for _, all := range []string{n.ip(t, "route"), n.ip(t, "-6 route")} {
					for _, gone := range []string{"nexthop", "10.9.9", "10.7.", "fd77:", "nhid"} {
						if strings.Contains(all, gone) {
							t.Errorf("routes still hold %q:\n%s", gone, all)
						}
					}
				}
				for _, other := range []string{"198.51.100.0/24 via 192.0.2.9", "172.20.1.0/24 via 192.0.2.9"} {
					if all := n.ip(t, "route"); !strings.Contains(all, other) {
						t.Errorf("a route of others on another link is gone, %s:\n%s", other, all)
					}
				}
			})
		}
	}
}

// TestTakeOverWithoutGap replaces routes as flannel leaves them by ours, and
// back: by the kernel's own record of events, each destination has a route at
// every moment.
func TestTakeOverWithoutGap(t *testing.T) {
	t.Parallel()
	n, want := newNode(t), overlay(50)
	n.reach(t, scope, want)
	theirs := overlay(50)
	clear(theirs.Routes)
	for _, r := range want.Routes {
		r.Protocol, r.Metric = unix.RTPROT_BOOT, 0
		if r.Dst.Addr().Is6() {
			r.Metric = 1024
		}
		theirs.Routes[r.Key()] = r
	}
	held := make(map[netip.Prefix]int)
	for _, r := range want.Routes {
		held[r.Dst]++
	}
	events, err := n.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	n.reach(t, scope, theirs)
	n.reach(t, scope, want)
	seen := 0
	n.drain(t, events, func(m message) {
		r, ok := decodeRoute(m.body)
		switch {
		case !ok:
		case m.typ == unix.RTM_NEWROUTE && m.flags&unix.NLM_F_REPLACE == 0:
			held[r.Dst]++
		case m.typ == unix.RTM_DELROUTE:
			if held[r.Dst]--; held[r.Dst] < 1 {
				t.Errorf("%s has no route after %+v was deleted", r.Dst, r)
			}
			seen++
		}
	})
	if seen != 2*len(want.Routes) {
		t.Errorf("%d routes were deleted; want %d", seen, 2*len(want.Routes))
	}
}

// drain calls fn for each event that waits.
func (n node) drain(t *testing.T, events *os.File, fn func(message)) {
	t.Helper()
	raw, err := events.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	for {
		var size int
		var failed error
		if err := raw.Control(func(fd uintptr) { size, failed = unix.Read(int(fd), buf) }); err != nil {
			t.Fatal(err)
		}
		if errors.Is(failed, unix.EAGAIN) {
			return
		}
		if failed != nil {
			t.Fatal(failed)
		}
		for m := range messages(buf[:size]) {
			fn(m)
		}
	}
}

// TestDeleteOneMetric deletes one of two routes to the same destination.
func TestDeleteOneMetric(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 1)
	for _, r := range want.Routes {
		other := r
		other.Metric = 2000
		if err := n.Apply(t.Context(), network.Changes{SetRoutes: []network.Route{other}}); err != nil {
			t.Fatal(err)
		}
		both := n.read(t, scope)
		if both.Routes[r.Key()] != r || both.Routes[other.Key()] != other {
			t.Errorf("routes = %v; want %v and %v", both.Routes, r, other)
		}
	}
	n.reach(t, scope, want)
}

func TestReplacedValues(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 3)
	for k, f := range want.Forwards {
		f.Dst = f.Dst.Next()
		want.Forwards[k] = f
	}
	for k, nb := range want.Neighbors {
		nb.MAC[1] = 7
		want.Neighbors[k] = nb
	}
	for k, r := range want.Routes {
		r.Via = r.Via.Next()
		want.Routes[k] = r
	}
	n.reach(t, scope, want)
}

// TestForeignEntries finds entries as others leave them under our keys.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 1)
	m := mac(1).String()
	for _, test := range []struct{ name, tool, args string }{
		{"dynamic neighbor", "ip", "neigh replace 10.0.1.0 lladdr 0e:00:00:00:00:63 dev flannel.1 nud reachable"},
		{"dynamic neighbor, right MAC", "ip", "neigh replace 10.0.1.0 lladdr " + m + " dev flannel.1 nud stale"},
		{"dynamic neighbor, IPv6", "ip", "neigh replace fd00:0:0:1:: lladdr 0e:00:00:00:00:63 dev flannel.1 nud reachable"},
		{"failed neighbor", "ip", "neigh change 10.0.1.0 dev flannel.1 nud failed"},
		{"permanent neighbor", "ip", "neigh replace 10.0.1.0 lladdr 0e:00:00:00:00:63 dev flannel.1 nud permanent"},
		{"unknown neighbor", "ip", "neigh add 10.0.9.0 lladdr 0e:00:00:00:00:63 dev flannel.1 nud permanent"},
		{"no neighbor", "ip", "neigh del 10.0.1.0 dev flannel.1"},
		{"other destination", "bridge", "fdb replace " + m + " dev flannel.1 dst 172.16.9.9"},
		{"other port", "bridge", "fdb replace " + m + " dev flannel.1 dst 172.16.0.1 port 4000"},
		{"other VNI", "bridge", "fdb replace " + m + " dev flannel.1 dst 172.16.0.1 vni 77"},
		{"other link", "bridge", "fdb replace " + m + " dev flannel.1 dst 172.16.0.1 via up0"},
		{"learned", "bridge", "fdb replace " + m + " dev flannel.1 dst 172.16.0.1 dynamic"},
		{"unknown forward", "bridge", "fdb add 0e:00:00:00:00:63 dev flannel.1 dst 172.16.9.9"},
		{"unknown forward, other port", "bridge", "fdb add 0e:00:00:00:00:63 dev flannel.1 dst 172.16.9.9 port 4000"},
		{"flood", "bridge", "fdb append 00:00:00:00:00:00 dev flannel.1 dst 172.16.9.9"},
		{"no forward", "bridge", "fdb del " + m + " dev flannel.1"},
	} {
		n.run(t, test.tool, test.args)
		if ch := n.reach(t, scope, want); ch.Len() == 0 {
			t.Errorf("%s: nothing to change", test.name)
		}
	}
	// What traffic teaches the kernel is not ours to delete.
	n.run(t, "bridge", "fdb add 0e:00:00:00:00:64 dev flannel.1 dst 172.16.9.9 dynamic")
	n.ip(t, "neigh add 10.0.9.0 lladdr 0e:00:00:00:00:64 dev flannel.1 nud reachable")
	if ch := network.Compare(n.read(t, scope), want); ch.Len() != 0 {
		t.Errorf("learned entries are to be changed: %+v", ch)
	}
}

// TestFlood sets many destinations for the MACs that may have many.
func TestFlood(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 1)
	for _, m := range []network.MAC{{}, {1, 0, 0x5e, 0, 0, 1}} {
		for i := range 3 {
			f := network.Forward{Link: "flannel.1", MAC: m, Dst: netip.AddrFrom4([4]byte{172, 17, 0, byte(i + 1)})}
			want.Forwards[f.Key()] = f
		}
	}
	n.reach(t, scope, want)
	for k := range want.Forwards {
		if k.Dst == netip.MustParseAddr("172.17.0.2") {
			delete(want.Forwards, k)
		}
	}
	n.reach(t, scope, want)
}

func TestTwiceIsOnce(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 5)
	set := network.Compare(network.State{Links: want.Links}, want)
	del := network.Compare(want, network.NewState())
	for _, ch := range []network.Changes{set, set, del, del} {
		if err := n.Apply(t.Context(), ch); err != nil {
			t.Error(err)
		}
	}
	if got := n.read(t, scope); len(got.Routes)+len(got.Neighbors)+len(got.Forwards)+len(got.Addresses) != 0 {
		t.Errorf("after deletion = %+v; want nothing", got)
	}
	if err := n.DelLink(t.Context(), "flannel.1"); err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(t.Context(), del); err != nil {
		t.Errorf("delete on a link that is gone: %v", err)
	}
	var failed *EntryError
	if err := n.Apply(t.Context(), set); !errors.As(err, &failed) || !errors.Is(err, unix.ENODEV) {
		t.Errorf("set on a link that is gone: %v; want an EntryError with ENODEV", err)
	}
}

// TestOneBadEntry has one route in a thousand that the kernel refuses, and one
// that cannot even be said.
func TestOneBadEntry(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	want := overlay(500)
	ch := network.Compare(n.read(t, scope), want)
	bad := []network.Route{
		{Dst: netip.MustParsePrefix("10.99.0.0/24"), Via: netip.MustParseAddr("203.0.113.1"), Link: "flannel.1", Metric: 7, Protocol: 112},
		{Dst: netip.MustParsePrefix("fd99::/64"), Via: netip.MustParseAddr("10.0.0.1"), Link: "flannel.1", Metric: 7, Protocol: 112},
		{Dst: netip.MustParsePrefix("10.98.0.0/24"), Link: "eth9", Protocol: 112},
	}
	for i, r := range bad {
		ch.SetRoutes = slices.Insert(ch.SetRoutes, 100+200*i, r)
	}
	err := n.Apply(t.Context(), ch)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, text := range []string{
		"set route 10.99.0.0/24 via 203.0.113.1 dev flannel.1 metric 7: ",
		"set route fd99::/64 via 10.0.0.1 dev flannel.1 metric 7: an IPv6 route has no IPv4 gateway",
		"set route 10.98.0.0/24 dev eth9: no such device",
	} {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, text) }) || len(lines) != len(bad) {
			t.Errorf("bad entry %d: errors = %q; want %q and no more than %d", i, lines, text, len(bad))
		}
	}
	if !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("error = %v; want ENETUNREACH in it", err)
	}
	if left := network.Compare(n.read(t, scope), want); left.Len() != 0 {
		t.Errorf("left to do: %+v; want all but the bad ones done", left)
	}
}

// TestLostReplies makes the receive buffer so small that refusals do not fit:
// still the kernel's words about each one are reported.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	n, _ := newOverlay(t, 1)
	if err := unix.SetsockoptInt(n.sock.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 2048); err != nil {
		t.Fatal(err)
	}
	var ch network.Changes
	for i := range 300 {
		ch.SetRoutes = append(ch.SetRoutes, network.Route{
			Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, byte(i >> 8), byte(i)}), 32), Via: netip.MustParseAddr("203.0.113.1"), Link: "flannel.1",
		})
	}
	err := n.Apply(t.Context(), ch)
	if got := strings.Count(fmt.Sprint(err), "via 203.0.113.1 dev flannel.1: Nexthop has invalid gateway"); got != len(ch.SetRoutes) {
		t.Errorf("%d failures reported; want %d", got, len(ch.SetRoutes))
	}
}

func TestManyPeers(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 5000)
	got := n.read(t, scope)
	if len(got.Routes) != 10000 || len(got.Neighbors) != 10000 || len(got.Forwards) != 5000 {
		t.Errorf("read %d routes, %d neighbors, %d forwards; want 10000, 10000, 5000", len(got.Routes), len(got.Neighbors), len(got.Forwards))
	}
	empty := want
	empty.Routes, empty.Neighbors, empty.Forwards = nil, nil, nil
	n.reach(t, scope, empty)
}

func TestApplyStopsWithItsContext(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Apply(ctx, network.Compare(n.read(t, scope), overlay(1000))); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v; want context.Canceled", err)
	}
	if _, err := n.Read(ctx, scope); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: error = %v; want context.Canceled", err)
	}
}
