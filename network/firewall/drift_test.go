// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"strings"
	"testing"
)

func TestDrift(t *testing.T) {
	for _, tc := range []struct{ have, want, text string }{
		{"", "", ""},
		{"a b", "a b", ""},
		{"", "a b", "2 of 2 rules missing"},
		{"b", "a b", "1 of 2 rules missing"},
		{"a c b", "a b", "1 rule not ours"},
		{"a a b", "a b", "1 rule not ours"},
		{"a a b a", "a b", "2 rules not ours"},
		{"a b", "a b a", "1 of 3 rules missing"},
		{"a c", "a b", "1 of 2 rules missing, 1 not ours"},
		{"b a", "a b", "rules out of order"},
	} {
		if got := Drift(strings.Fields(tc.have), strings.Fields(tc.want)); got != tc.text {
			t.Errorf("Drift(%q, %q) = %q; want %q", tc.have, tc.want, got, tc.text)
		}
	}
}
