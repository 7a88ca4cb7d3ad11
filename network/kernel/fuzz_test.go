// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// captured adds messages as the kernel really sends them, so that the
// fuzzer starts from real ones.
func captured(f *testing.F, requests ...[]byte) {
	f.Helper()
	n := newNode(f)
	for _, args := range []string{
		"link add flannel.1 type vxlan id 1 dev up0 local 192.0.2.1 dstport 8472 nolearning gbp",
		"link set flannel.1 up", "addr add 10.0.0.0/32 dev flannel.1",
		"link add br0 type bridge", "link set far0 master br0",
		"route add 10.0.1.0/24 via 10.0.1.0 dev flannel.1 onlink proto 112 metric 1",
		"route add 10.0.2.0/24 nexthop via 192.0.2.9 dev up0 nexthop via 192.0.2.8 dev up0",
		"route add 10.0.3.0/24 via inet6 2001:db8::9 dev up0 mtu 1000 src 192.0.2.1",
		"-6 route add fd00::/64 nexthop via 2001:db8::9 dev up0 nexthop via 2001:db8::8 dev up0",
		"neigh add 10.0.1.0 lladdr 0e:00:00:00:00:01 dev flannel.1 nud permanent",
		"-6 neigh add fd00::1 lladdr 0e:00:00:00:00:01 dev flannel.1 nud permanent",
	} {
		n.ip(f, args)
	}
	n.run(f, "bridge", "fdb add 0e:00:00:00:00:01 dev flannel.1 dst 172.16.0.1 port 4000 via up0")
	for _, request := range requests {
		all, err := dump(f.Context(), n.sock, request, func(b []byte) ([]byte, bool) { return slices.Clone(b), true })
		if err != nil {
			f.Fatal(err)
		}
		for _, b := range all {
			f.Add(b)
		}
	}
}

func dumpRequest(typ uint16, header int, fam uint8) []byte {
	var e encoder
	e.begin(typ, dumpAll)
	e.buf = append(e.buf, make([]byte, header)...)
	e.buf[messageHdrLen] = fam
	e.end()
	return e.buf
}

// body returns what one encoded message holds.
func body(t *testing.T, e encoder) []byte {
	t.Helper()
	all := slices.Collect(messages(e.buf))
	if len(all) != 1 {
		t.Fatalf("%d messages encoded; want one whole one in % x", len(all), e.buf)
	}
	return all[0].body
}

func FuzzDecodeRoute(f *testing.F) {
	captured(f, routeRequest(unix.AF_INET), routeRequest(unix.AF_INET6))
	for _, r := range overlay(2).Routes {
		var e encoder
		if err := e.route(unix.RTM_NEWROUTE, 7, r); err != nil {
			f.Fatal(err)
		}
		f.Add(e.buf[messageHdrLen:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decodeRoute(b)
		if !ok {
			return
		}
		if !r.Dst.IsValid() || r.Dst != r.Dst.Masked() {
			t.Errorf("destination %v is not masked", r.Dst)
		}
		if entry := r.entry("x"); r.odd && !isOdd(entry) {
			t.Errorf("the route is odd, but its entry is %+v", entry)
		}
		if m := slices.Collect(messages(deletion(b))); len(m) != 1 {
			t.Errorf("%d messages to delete one route", len(m))
		}
		var e encoder
		if r.odd || e.route(unix.RTM_NEWROUTE, r.first.index, r.Route) != nil {
			return
		}
		again, ok := decodeRoute(body(t, e))
		if !ok || again.Route != r.Route || again.first != r.first {
			t.Errorf("decoded %+v, encoded and decoded %+v, %v", r, again, ok)
		}
	})
}

func FuzzDecodeNeighbor(f *testing.F) {
	captured(f, dumpRequest(unix.RTM_GETNEIGH, neighHdrLen, unix.AF_INET),
		dumpRequest(unix.RTM_GETNEIGH, neighHdrLen, unix.AF_INET6), dumpRequest(unix.RTM_GETNEIGH, neighHdrLen, unix.AF_BRIDGE))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := decodeNeighbor(b)
		if !ok {
			return
		}
		var e encoder
		switch {
		case n.isPermanent():
			if err := e.neighbor(unix.RTM_NEWNEIGH, n.index, network.Neighbor{IP: n.ip, MAC: n.mac}); err != nil {
				t.Fatal(err)
			}
		case n.isForward() && !n.odd:
			if err := e.forward(unix.RTM_NEWNEIGH, n.index, n.forward("x")); err != nil {
				t.Fatal(err)
			}
		default:
			return
		}
		again, ok := decodeNeighbor(body(t, e))
		if !ok || again.ip != n.ip || again.mac != n.mac || again.index != n.index || again.family != n.family ||
			again.isPermanent() != n.isPermanent() || again.isForward() != n.isForward() {
			t.Errorf("decoded %+v, encoded and decoded %+v, %v", n, again, ok)
		}
	})
}

func FuzzDecodeLink(f *testing.F) {
	captured(f, dumpRequest(unix.RTM_GETLINK, ifInfoLen, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, ok := decodeLink(b); ok && (l.Name == "" || l.Kind != network.KindVXLAN && l.VXLAN != network.VXLAN{}) {
			t.Errorf("decoded %+v", l)
		}
	})
}

func FuzzDecodeAddress(f *testing.F) {
	captured(f, dumpRequest(unix.RTM_GETADDR, ifAddrLen, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := decodeAddress(b); ok && (!a.prefix.IsValid() || !a.peer.IsValid()) {
			t.Errorf("decoded %+v", a)
		}
	})
}

// FuzzMessages splits a datagram and reads the errors in it.
func FuzzMessages(f *testing.F) {
	var e encoder
	e.begin(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS|unix.NLM_F_CAPPED)
	e.buf = native.AppendUint32(e.buf, uint32(0xffffffff)) // -EPERM
	e.buf = append(e.buf, make([]byte, messageHdrLen)...)
	e.name(unix.NLMSGERR_ATTR_MSG, "no")
	e.end()
	f.Add(e.buf)
	f.Add(append(slices.Clone(e.buf), e.buf...))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for m := range messages(b) {
			total += messageHdrLen + len(m.body)
			if err := m.err(); err != nil && err.Error() == "" {
				t.Error("an error without a text")
			}
			decodeWay(m.body, nil)
		}
		if total > len(b) {
			t.Errorf("%d bytes in messages of %d bytes", total, len(b))
		}
	})
}

func TestRefusalText(t *testing.T) {
	n := newNode(t)
	err := n.Apply(t.Context(), network.Changes{SetRoutes: []network.Route{
		{Dst: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("203.0.113.1"), Link: "up0"},
	}})
	const want = "set route 10.0.0.0/8 via 203.0.113.1 dev up0: Nexthop has invalid gateway (network is unreachable)"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v; want %s", err, want)
	}
}
