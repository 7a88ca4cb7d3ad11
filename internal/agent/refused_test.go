// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/subnet"
)

func TestRefused(t *testing.T) {
	t.Parallel()
	endpoint := func(pods, uplink string) subnet.Endpoint {
		return subnet.Endpoint{Subnet: netip.MustParsePrefix(pods), Uplink: netip.MustParseAddr(uplink)}
	}
	peers := []backend.Peer{
		{Lease: subnet.Lease{Node: "n2", V4: endpoint("10.244.2.0/24", "192.0.2.2"), V6: endpoint("fd00:2::/64", "2001:db8::2")}},
		{Lease: subnet.Lease{Node: "n3", V4: endpoint("10.244.3.0/24", "192.0.2.3")}},
	}
	for _, tt := range []struct {
		name, from, inner string
		problem, note     []string
	}{
		{"behind a NAT", "203.0.113.9", "10.244.3.7", []string{"7 from 203.0.113.9", "n3", "192.0.2.3", "--public-ip=203.0.113.9", `"Guard": false`}, nil},
		{"behind a NAT, IPv6", "2001:db8::9", "fd00:2::7", []string{"n2", "2001:db8::2", "--public-ipv6=2001:db8::9"}, nil},
		{"of a peer, taken by now", "192.0.2.2", "10.244.2.7", nil, nil},
		{"of a peer's node, taken by now", "2001:db8::2", "2001:db8::2", nil, nil},
		{"the node itself, behind a NAT", "203.0.113.9", "192.0.2.3", []string{"n3"}, nil},
		{"one peer as another", "192.0.2.2", "10.244.3.7", []string{"from 192.0.2.2 with addresses of n3", "forges"}, nil},
		{"an address that is none of its pods'", "192.0.2.2", "198.51.100.7", []string{"n2", "198.51.100.7", "--ip-masq"}, nil},
		{"a stranger", "198.51.100.1", "198.51.100.2", nil, []string{"198.51.100.1 (7, as from 198.51.100.2)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := guard.Stranger{From: netip.MustParseAddr(tt.from), Inner: netip.MustParseAddr(tt.inner), Packets: 7}
			r, _ := longAgo(s).judge([]guard.Stranger{s}, peers, time.Now())
			text := ""
			if r.problem != nil {
				text = r.problem.Error()
			}
			wantTexts(t, "problem", text, tt.problem)
			wantTexts(t, "notes", strings.Join(r.notes, "; "), tt.note)
			if r.soon {
				t.Error("soon = true; want all told")
			}
		})
	}
	if r, _ := (firsts)(nil).judge(nil, peers, time.Now()); r.problem != nil || r.notes != nil || r.soon {
		t.Errorf("judge of nothing = %+v; want nothing", r)
	}
	var many []guard.Stranger
	for range 9 {
		many = append(many, guard.Stranger{From: netip.MustParseAddr("198.51.100.1"), Inner: netip.MustParseAddr("198.51.100.2"), Packets: 1})
	}
	if r, _ := (firsts)(nil).judge(many, peers, time.Now()); len(r.notes) != 1 || !strings.Contains(r.notes[0], "and 5 more") {
		t.Errorf("notes of nine strangers = %q; want four named", r.notes)
	}
}

// longAgo has packets of s refused for a minute.
func longAgo(s guard.Stranger) firsts {
	return firsts{{From: s.From, Inner: s.Inner}: time.Now().Add(-time.Minute)}
}

// TestRefusedForAMoment follows packets of a peer from an address that it does
// not publish, as the agent looks at them at certain times.
func TestRefusedForAMoment(t *testing.T) {
	t.Parallel()
	at := func(uplink string) []backend.Peer {
		return []backend.Peer{{Lease: subnet.Lease{Node: "n2", V4: subnet.Endpoint{
			Subnet: netip.MustParsePrefix("10.244.2.0/24"), Uplink: netip.MustParseAddr(uplink),
		}}}}
	}
	moved, back := at("192.0.2.2"), at("192.0.2.9")
	type look struct {
		last      time.Duration // packet, after the first one; the looks are 10 s apart
		peers     []backend.Peer
		soon, bad bool
	}
	start := time.Now()
	for name, looks := range map[string][]look{
		"moved":            {{0, moved, true, false}, {0, moved, false, false}},
		"moved slowly":     {{0, moved, true, false}, {9 * time.Second, moved, true, false}, {9 * time.Second, moved, false, false}},
		"stays":            {{0, moved, true, false}, {10 * time.Second, moved, false, true}, {20 * time.Second, moved, false, true}},
		"stayed and ended": {{0, moved, true, false}, {10 * time.Second, moved, false, true}, {10 * time.Second, moved, false, true}},
		"to and fro":       {{0, moved, true, false}, {0, back, false, false}, {20 * time.Second, moved, true, false}, {20 * time.Second, moved, false, false}},
	} {
		var f firsts
		for i, l := range looks {
			now := start.Add(time.Duration(i) * lasting)
			s := guard.Stranger{From: netip.MustParseAddr("192.0.2.9"), Inner: netip.MustParseAddr("10.244.2.7"), Packets: uint64(i), Ago: now.Sub(start) - l.last}
			var r refusal
			if r, f = f.judge([]guard.Stranger{s}, l.peers, now); r.soon != l.soon || (r.problem != nil) != l.bad || r.notes != nil {
				t.Errorf("%s, look %d: %+v; want soon %t, a problem %t", name, i, r, l.soon, l.bad)
			}
		}
		if _, f = f.judge(nil, moved, start); len(f) != 0 {
			t.Errorf("%s: %v remembered of strangers that are gone", name, f)
		}
	}
}

// wantTexts fails unless text has all of want, or is empty where that is.
func wantTexts(t *testing.T, what, text string, want []string) {
	t.Helper()
	if (text == "") != (len(want) == 0) {
		t.Errorf("%s = %q; want one: %v", what, text, len(want) > 0)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s = %q; want %q in it", what, text, w)
		}
	}
}

// Anybody can send as many strangers as the kernel keeps, and each round judges
// them: what a peer publishes is read once, not for each of them.
func TestManyStrangersInALargeCluster(t *testing.T) {
	var peers []backend.Peer
	var all []guard.Stranger
	for i := range 256 {
		peer := subnet.Endpoint{
			Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(i), 0}), 24),
			Uplink: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Data: `{"VNI":1,"VtepMAC":"02:aa:bb:cc:dd:ee"}`,
		}
		peers = append(peers, backend.Peer{Lease: subnet.Lease{Node: "n", V4: peer}})
		all = append(all, guard.Stranger{From: netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), Inner: netip.MustParseAddr("198.51.100.1")})
	}
	allocs := testing.AllocsPerRun(1, func() { firsts(nil).judge(all, peers, time.Now()) })
	if most := 50.0 * 256; allocs > most {
		t.Errorf("judging took %v allocations; want %v at most, so that they grow with peers and strangers, not with both", allocs, most)
	}
}
