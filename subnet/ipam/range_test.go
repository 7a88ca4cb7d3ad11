// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func mustRange(t *testing.T, s string) Range {
	t.Helper()
	r, err := NewRange(netip.MustParsePrefix(s))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func isFull(err error) bool {
	var full *FullError
	return errors.As(err, &full)
}

func set(addrs ...string) Set {
	s := Set{}
	for _, a := range addrs {
		s[netip.MustParseAddr(a)] = true
	}
	return s
}

func TestNewRange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in      string
		gateway string
		size    uint64
		err     string
	}{
		{in: "10.42.7.0/24", gateway: "10.42.7.1", size: 253},
		{in: "10.42.7.9/24", gateway: "10.42.7.1", size: 253}, // host bits are masked off
		{in: "10.42.0.0/16", gateway: "10.42.0.1", size: 65533},
		{in: "10.42.7.4/30", gateway: "10.42.7.5", size: 1},
		{in: "10.42.7.4/31", err: "longest prefix is /30"},
		{in: "10.42.7.4/32", err: "longest prefix is /30"},
		{in: "fd00::/64", gateway: "fd00::1", size: math.MaxUint64},
		{in: "fd00::/65", gateway: "fd00::1", size: 1<<63 - 2},
		{in: "fd00::4/126", gateway: "fd00::5", size: 2},
		{in: "fd00::/127", err: "longest prefix is /126"},
	} {
		r, err := NewRange(netip.MustParsePrefix(tt.in))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("NewRange(%s) = %v; want an error with %q", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil || r.Gateway().String() != tt.gateway || r.Size() != tt.size {
			t.Errorf("NewRange(%s) = gateway %s, size %d, %v; want %s, %d", tt.in, r.Gateway(), r.Size(), err, tt.gateway, tt.size)
		}
	}
	if _, err := NewRange(netip.Prefix{}); err == nil {
		t.Error("NewRange of no prefix succeeded; want an error")
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, subnet, last, want string
		used                     Set
	}{
		{name: "first", subnet: "10.0.0.0/29", want: "10.0.0.2"},
		{name: "after last", subnet: "10.0.0.0/29", last: "10.0.0.4", want: "10.0.0.5"},
		{name: "freed ones wait for the round", subnet: "10.0.0.0/29", last: "10.0.0.4", used: set("10.0.0.5"), want: "10.0.0.6"},
		{name: "wraps before broadcast", subnet: "10.0.0.0/29", last: "10.0.0.6", want: "10.0.0.2"},
		{name: "wraps over used", subnet: "10.0.0.0/29", last: "10.0.0.6", used: set("10.0.0.2"), want: "10.0.0.3"},
		{name: "last of another subnet", subnet: "10.0.0.0/29", last: "10.9.0.3", want: "10.0.0.2"},
		{name: "last is the gateway", subnet: "10.0.0.0/29", last: "10.0.0.1", want: "10.0.0.2"},
		{name: "last is broadcast", subnet: "10.0.0.0/29", last: "10.0.0.7", want: "10.0.0.2"},
		{name: "foreign used do not count", subnet: "10.0.0.0/30", used: set("10.9.0.2", "10.0.0.1", "10.0.0.0", "10.0.0.3", "fd00::2"), want: "10.0.0.2"},
		{name: "only one left", subnet: "10.0.0.0/29", last: "10.0.0.4", used: set("10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"), want: "10.0.0.4"},
		{name: "v6 first", subnet: "fd00::/64", want: "fd00::2"},
		{name: "v6 all ones is an address", subnet: "fd00::/126", last: "fd00::2", want: "fd00::3"},
		{name: "v6 wraps", subnet: "fd00::/126", last: "fd00::3", want: "fd00::2"},
		{name: "end of the address space", subnet: "255.255.255.252/30", want: "255.255.255.254"},
		{name: "end of the v6 space", subnet: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", last: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", want: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		var last netip.Addr
		if tt.last != "" {
			last = netip.MustParseAddr(tt.last)
		}
		got, err := mustRange(t, tt.subnet).Next(last, tt.used)
		if err != nil || got.String() != tt.want {
			t.Errorf("%s: Next = %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

// Taking until it is full gives each address once and never a reserved one.
func TestNextUntilFull(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"10.42.7.0/24", "fd00::/120", "10.0.0.0/30", "fd00::/126"} {
		r := mustRange(t, s)
		used := Set{}
		var last netip.Addr
		for range r.Size() {
			a, err := r.Next(last, used)
			if err != nil {
				t.Fatalf("%s after %d: %v", s, len(used), err)
			}
			if used[a] || a == r.Gateway() || a == r.Subnet.Addr() || !r.Subnet.Contains(a) {
				t.Fatalf("%s: Next gave %s", s, a)
			}
			used[a], last = true, a
		}
		_, err := r.Next(last, used)
		if !isFull(err) {
			t.Errorf("%s: Next when all are used = %v; want a FullError", s, err)
		}
	}
}

func TestFullSaysHowFull(t *testing.T) {
	t.Parallel()
	r := mustRange(t, "10.42.7.0/30")
	_, err := r.Next(netip.Addr{}, set("10.42.7.2"))
	if want := "subnet 10.42.7.0/30 is full: 1 of 1 addresses used"; err == nil || err.Error() != want {
		t.Errorf("Next = %v; want %q", err, want)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	ranges := []Range{mustRange(t, "10.0.0.0/30"), mustRange(t, "fd00::/64")}
	got, err := Choose(ranges, nil, nil)
	want := []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Choose = %v, %v; want %v", got, err, want)
	}
	last := []netip.Addr{{}, netip.MustParseAddr("fd00::9")}
	if got, err = Choose(ranges, last, nil); err != nil || got[1].String() != "fd00::a" {
		t.Errorf("Choose after fd00::9 = %v, %v; want fd00::a", got, err)
	}
	if got, err = Choose(ranges, nil, set("10.0.0.2")); !isFull(err) || got != nil {
		t.Errorf("Choose with IPv4 full = %v, %v; want none and a FullError", got, err)
	}
	reversed := []Range{ranges[1], ranges[0]}
	if got, err = Choose(reversed, nil, set("10.0.0.2")); !isFull(err) || got != nil {
		t.Errorf("Choose with the second range full = %v, %v; want none and a FullError", got, err)
	}
}
