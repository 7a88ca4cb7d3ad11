// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"net/netip"
	"strings"
	"testing"
)

// at makes a place of two prefixes; "" is none.
func at(v4, v6 string) place {
	var p place
	if v4 != "" {
		p.v4 = netip.MustParsePrefix(v4)
	}
	if v6 != "" {
		p.v6 = netip.MustParsePrefix(v6)
	}
	return p
}

func TestKeyGolden(t *testing.T) {
	for _, c := range []struct{ v4, v6, key, base string }{
		{"10.3.17.0/24", "", "10.3.17.0-24", "10.3.17.0-"},
		{"10.3.17.0/24", "fc00:0:0:23::/64", "10.3.17.0-24&fc00:0:0:23::-64", "10.3.17.0-"},
		{"", "fc00:0:0:23::/64", "0.0.0.0-0&fc00:0:0:23::-64", "0.0.0.0-0&fc00:0:0:23::-"},
		{"192.0.2.2/31", "2001:db8::2/127", "192.0.2.2-31&2001:db8::2-127", "192.0.2.2-"},
	} {
		p := at(c.v4, c.v6)
		if got := p.key(); got != c.key {
			t.Errorf("key of %v = %q; want %q", p, got, c.key)
		}
		if got := p.base(); got != c.base {
			t.Errorf("base of %v = %q; want %q", p, got, c.base)
		}
		if got, err := parseKey(c.key); err != nil || got != p {
			t.Errorf("parseKey(%q) = %v, %v; want %v", c.key, got, err, p)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, c := range []struct{ key, says string }{
		{"", "no subnet"},
		{"10.3.17.0", "no subnet"},
		{"10.3.17.0-", "subnet length"},
		{"10.3.17.0-32", "1 to 31"},
		{"10.3.17.0-0", "1 to 31"},
		{"10.3.17.0--1", "no IPv4"},
		{"10.3.17.1-24", `"10.3.17.0-24" would be right`},
		{"0.0.0.0-0", "1 to 31"},
		{"10.3.17.0-024", "usual form"},
		{"10.3.17.0-+24", "usual form"},
		{"010.3.17.0-24", "no IPv4"},
		{"x/10.3.17.0-24", "no IPv4"},
		{"10.3.17.0-24/x", "subnet length"},
		{"10.3.17.0-24&", "no subnet"},
		{"10.3.17.0-24&10.3.18.0-24", "no IPv6"},
		{"fc00::-64", "no IPv4"},
		{"0.0.0.0-0&fc00::-128", "1 to 127"},
		{"0.0.0.0-0&fc00::1-64", "host bits"},
		{"0.0.0.0-0&FC00::-64", "usual form"},
		{"0.0.0.0-0&fc00:0:0:0::-64", "usual form"},
		{"0.0.0.0-0&fe80::%eth0-64", "no IPv6"},
		{"10.3.17.0-24&fc00::-64&fc01::-64", "no IPv6"},
		{strings.Repeat("1", 1000), "1000 bytes"},
	} {
		if p, err := parseKey(c.key); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("parseKey(%.40q) = %v, %v; want an error that says %q", c.key, p, err, c.says)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{"10.3.17.0-24", "10.3.17.0-24&fc00:0:0:23::-64", "0.0.0.0-0&fc00:0:0:23::-64", "0.0.0.0-0", "&-", "1.2.3.4-31&::1.2.3.4-127"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseKey(text)
		if err != nil {
			return
		}
		if got := p.key(); got != text {
			t.Errorf("key of parseKey(%q) = %q", text, got)
		}
		if p == (place{}) || p.v4.IsValid() && p.v4 != p.v4.Masked() || p.v6.IsValid() && p.v6 != p.v6.Masked() {
			t.Errorf("parseKey(%q) = %v, which is no place", text, p)
		}
		if !strings.HasPrefix(text, p.base()) {
			t.Errorf("base of %q = %q; want its beginning", text, p.base())
		}
	})
}
