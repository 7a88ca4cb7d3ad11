// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"strings"
	"testing"

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
		{"behind a NAT, IPv6", "2001:db8::9", "fd00:2::7", []string{"n2", "2001:db8::2"}, nil},
		{"the node itself, behind a NAT", "203.0.113.9", "192.0.2.3", []string{"n3"}, nil},
		{"one peer as another", "192.0.2.2", "10.244.3.7", []string{"from 192.0.2.2 with addresses of n3", "forges"}, nil},
		{"an address that is none of its pods'", "192.0.2.2", "198.51.100.7", []string{"n2", "198.51.100.7", "--ip-masq"}, nil},
		{"a stranger", "198.51.100.1", "198.51.100.2", nil, []string{"198.51.100.1 (7, as from 198.51.100.2)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := guard.Stranger{From: netip.MustParseAddr(tt.from), Inner: netip.MustParseAddr(tt.inner), Packets: 7}
			notes, problem := refused([]guard.Stranger{s}, peers)
			text := ""
			if problem != nil {
				text = problem.Error()
			}
			wantTexts(t, "problem", text, tt.problem)
			wantTexts(t, "notes", strings.Join(notes, "; "), tt.note)
		})
	}
	if notes, problem := refused(nil, peers); problem != nil || notes != nil {
		t.Errorf("refused of nothing = %v, %q; want nothing", problem, notes)
	}
	var many []guard.Stranger
	for range 9 {
		many = append(many, guard.Stranger{From: netip.MustParseAddr("198.51.100.1"), Inner: netip.MustParseAddr("198.51.100.2"), Packets: 1})
	}
	if notes, _ := refused(many, peers); len(notes) != 1 || !strings.Contains(notes[0], "and 5 more") {
		t.Errorf("notes of nine strangers = %q; want four named", notes)
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
