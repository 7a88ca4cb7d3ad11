// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/netip"
	"testing"
)

func TestClaimNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.42.7.0/24":       "subnet-10-42-7-0-24",
		"fc00:0:0:7::/64":    "subnet-fc00-0000-0000-0007-0000-0000-0000-0000-64",
		"10.42.128.0/17":     "subnet-10-42-128-0-17",
		"2001:db8:1:2::/120": "subnet-2001-0db8-0001-0002-0000-0000-0000-0000-120",
	} {
		p := netip.MustParsePrefix(text)
		got := claimName(p)
		if back, ok := parseClaimName(got); got != want || back != p || !ok {
			t.Errorf("claimName(%s) = %s, read as %v, %t; want %s", p, got, back, ok, want)
		}
	}
	for _, name := range []string{
		"", "subnet-", "subnet-10-42-7-0", "subnet-10-42-7-1-24", "subnet-010-42-7-0-24", "subnet-10-42-7-0-024", "subnet-10-42-7-0-33",
		"lease-10-42-7-0-24", "subnet-fc00-0-0-7-0-0-0-0-64", "subnet-10-42-7-0-24-", "subnet-a-b-c-d-24", "percaled-leader",
	} {
		if p, ok := parseClaimName(name); ok {
			t.Errorf("parseClaimName(%q) = %s; want none", name, p)
		}
	}
}

func FuzzClaimName(f *testing.F) {
	f.Add("subnet-10-42-7-0-24")
	f.Add("subnet-fc00-0000-0000-0007-0000-0000-0000-0000-64")
	f.Fuzz(func(t *testing.T, name string) {
		if p, ok := parseClaimName(name); ok && claimName(p) != name {
			t.Errorf("%q is read as %s, whose name is %q", name, p, claimName(p))
		}
	})
}
