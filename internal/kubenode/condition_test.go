// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestNetwork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what                    string
		facts                   Facts
		since                   time.Duration
		said                    bool
		status, reason, message string
	}{
		{"all is well", Facts{}, 0, true, "False", "PercaleIsUp", "The ways to this node's peers are in its kernel"},
		{"short trouble", Facts{Part: "uplink", Trouble: "none fits"}, grace - 1, false, "True", "NoUplink", "none fits"},
		{"trouble", Facts{Part: "uplink", Trouble: "none fits:\n  eth0"}, grace, true, "True", "NoUplink", "none fits: eth0"},
		{"no subnet", Facts{Part: "lease", Trouble: "no podCIDR: do this"}, time.Hour, true, "True", "NoSubnet", "no podCIDR: do this"},
		{"no news yet", Facts{Trouble: "reading leases from kube"}, time.Hour, true, "True", "Starting", "reading leases from kube"},
		{"a part of a later version", Facts{Part: "new", Trouble: "x"}, time.Hour, true, "True", "NotReady", "x"},
	} {
		c, ok := network(tt.facts, tt.since)
		if ok != tt.said || c.Status != tt.status || c.Reason != tt.reason || c.Message != tt.message || c.Type != NetworkUnavailable {
			t.Errorf("%s: %+v, %v; want %v %s %s %s", tt.what, c, ok, tt.said, tt.status, tt.reason, tt.message)
		}
	}
}

// Reasons are one word of letters, as Kubernetes has them (metav1.Condition).
func TestReasonsAreWords(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, part := range []string{"", "uplink", "lease", "net-conf", "store", "kernel", "ipv6", "forwarding", "firewall", "subnet.env", "new"} {
		r := reasonOf(part)
		if r == "" || strings.Trim(r, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" || seen[r] {
			t.Errorf("reason of %q = %q; want a word of its own", part, r)
		}
		seen[r] = true
	}
}

func TestExhausted(t *testing.T) {
	t.Parallel()
	used := func(n uint64) Usage { return Usage{Used: n, Total: 200, Text: "words"} }
	for _, tt := range []struct {
		what           string
		usage          []Usage
		was            string
		status, reason string // "": nothing is said
	}{
		{"not known", nil, "PodSubnetFull", "", ""},
		{"no pods", []Usage{used(0)}, "", "False", "PodSubnetHasRoom"},
		{"below 80 %", []Usage{used(159)}, "", "False", "PodSubnetHasRoom"},
		{"80 %", []Usage{used(160)}, "PodSubnetHasRoom", "False", "PodSubnetNearlyFull"},
		{"a little less again", []Usage{used(151)}, "PodSubnetNearlyFull", "False", "PodSubnetNearlyFull"},
		{"less than 75 % again", []Usage{used(149)}, "PodSubnetNearlyFull", "False", "PodSubnetHasRoom"},
		{"one address left", []Usage{used(199)}, "", "False", "PodSubnetNearlyFull"},
		{"none left", []Usage{used(200)}, "", "True", "PodSubnetFull"},
		{"one left again", []Usage{used(199)}, "PodSubnetFull", "False", "PodSubnetNearlyFull"},
		{"one of two families is full", []Usage{used(3), used(200)}, "", "True", "PodSubnetFull"},
		{"no address to give", []Usage{{}}, "", "False", "PodSubnetHasRoom"},
		{"a huge subnet", []Usage{{Used: 1 << 63, Total: 1<<64 - 1}}, "", "False", "PodSubnetHasRoom"},
	} {
		c, ok := exhausted(tt.usage, tt.was)
		if ok != (tt.status != "") || ok && (c.Status != tt.status || c.Reason != tt.reason) {
			t.Errorf("%s: %+v, %v; want %s %s", tt.what, c, ok, tt.status, tt.reason)
		}
		if words := strings.Contains(c.Message, "words"); ok && words != (c.Reason != "PodSubnetHasRoom") {
			t.Errorf("%s: message %q; want figures only where it is much", tt.what, c.Message)
		}
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\nb\x00\xff" + strings.Repeat("€", 999))
	f.Fuzz(func(t *testing.T, text string) {
		got := oneLine(text)
		if len(got) > maxMessage || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00\x1b") || oneLine(got) != got {
			t.Errorf("oneLine(%q) = %q", text, got)
		}
	})
}
