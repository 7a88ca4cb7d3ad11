// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"regexp"
	"strings"
	"testing"
)

// rejectForwarded does what the firewall of some distributions does when it is
// loaded behind the agent's back, and in front of whatever is there.
func rejectForwarded(t *testing.T, v *victim) {
	t.Helper()
	for _, tool := range []string{"iptables", "ip6tables"} {
		run(t, v.node.NS(), tool+" -w -I FORWARD 1 -j REJECT")
	}
}

// rejectingRules matches that rule, and what comes to stand before it.
func rejectingRules(v *victim) *regexp.Regexp {
	if v.firewall == "iptables" {
		return regexp.MustCompile(`^ip6?tables: filter FORWARD`)
	}
	return regexp.MustCompile(`^ip6?tables: filter `)
}

// unrejectForwarded takes the rule away, after a look at whom the agent blames.
func unrejectForwarded(t *testing.T, v *victim) {
	t.Helper()
	s, err := v.node.Agent(0).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if what := s.Firewall.LastRepair.What; v.firewall == "nftables" && !strings.Contains(what, "(iptables)") &&
		!strings.Contains(what, "(ip6tables)") {
		t.Errorf("last repair was %q; want iptables named", what)
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		run(t, v.node.NS(), tool+" -w -D FORWARD -j REJECT")
	}
}
