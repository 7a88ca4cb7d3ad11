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
			r := refused([]guard.Stranger{s}, peers, longAgo(s), time.Now())
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
	if r := refused(nil, peers, nil, time.Now()); r.problem != nil || r.notes != nil || r.soon {
		t.Errorf("refused of nothing = %+v; want nothing", r)
	}
	var many []guard.Stranger
	for range 9 {
		many = append(many, guard.Stranger{From: netip.MustParseAddr("198.51.100.1"), Inner: netip.MustParseAddr("198.51.100.2"), Packets: 1})
	}
	if r := refused(many, peers, nil, time.Now()); len(r.notes) != 1 || !strings.Contains(r.notes[0], "and 5 more") {
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
	peers := []backend.Peer{{Lease: subnet.Lease{Node: "n2", V4: subnet.Endpoint{
		Subnet: netip.MustParsePrefix("10.244.2.0/24"), Uplink: netip.MustParseAddr("192.0.2.2"),
	}}}}
	start := time.Now()
	for _, tt := range []struct {
		name      string
		last      []time.Duration // packet, after the first one, at each look; the looks are 10 s apart
		soon, bad []bool
	}{
		{"moved", []time.Duration{0, 0, 0}, []bool{true, false, false}, []bool{false, false, false}},
		{"moved slowly", []time.Duration{0, 9 * time.Second, 9 * time.Second}, []bool{true, true, false}, []bool{false, false, false}},
		{"stays", []time.Duration{0, 10 * time.Second, 20 * time.Second}, []bool{true, false, false}, []bool{false, true, true}},
		{"stayed, and ended", []time.Duration{0, 10 * time.Second, 10 * time.Second}, []bool{true, false, false}, []bool{false, true, true}},
	} {
		var f firsts
		for i, last := range tt.last {
			now := start.Add(time.Duration(i) * lasting)
			s := []guard.Stranger{{From: netip.MustParseAddr("192.0.2.9"), Inner: netip.MustParseAddr("10.244.2.7"), Packets: uint64(i), Ago: now.Sub(start) - last}}
			f = f.note(s, now)
			if r := refused(s, peers, f, now); r.soon != tt.soon[i] || (r.problem != nil) != tt.bad[i] || r.notes != nil {
				t.Errorf("%s, look %d: %+v; want soon %t, a problem %t", tt.name, i, r, tt.soon[i], tt.bad[i])
			}
		}
		if f = f.note(nil, start); len(f) != 0 {
			t.Errorf("%s: %v remembered of strangers that are gone", tt.name, f)
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
