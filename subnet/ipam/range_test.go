// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
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
		{in: "fd00::/64", gateway: "fd00::1", size: math.MaxUint64 - 1},
		{in: "fd00::/48", gateway: "fd00::1", size: math.MaxUint64},
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
		got, err := mustRange(t, tt.subnet).Next(last, tt.used, nil)
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
			a, err := r.Next(last, used, nil)
			if err != nil {
				t.Fatalf("%s after %d: %v", s, len(used), err)
			}
			if used[a] || a == r.Gateway() || a == r.Subnet.Addr() || !r.Subnet.Contains(a) {
				t.Fatalf("%s: Next gave %s", s, a)
			}
			used[a], last = true, a
		}
		_, err := r.Next(last, used, nil)
		if !isFull(err) {
			t.Errorf("%s: Next when all are used = %v; want a FullError", s, err)
		}
	}
}

func TestFullSaysHowFull(t *testing.T) {
	t.Parallel()
	r := mustRange(t, "10.42.7.0/30")
	_, err := r.Next(netip.Addr{}, set("10.42.7.2"), nil)
	if want := "subnet 10.42.7.0/30 is full: 1 of 1 used"; err == nil || err.Error() != want {
		t.Errorf("Next = %v; want %q", err, want)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	ranges := []Range{mustRange(t, "10.0.0.0/30"), mustRange(t, "fd00::/64")}
	for _, tt := range []struct {
		name   string
		choice Choice
		want   []netip.Addr
		full   bool
	}{
		{name: "one each", choice: Choice{Ranges: ranges}, want: addrs("10.0.0.2", "fd00::2")},
		{name: "after the last", choice: Choice{Ranges: ranges, Last: []netip.Addr{{}, addrs("fd00::9")[0]}}, want: addrs("10.0.0.2", "fd00::a")},
		{name: "IPv4 full", choice: Choice{Ranges: ranges, Used: set("10.0.0.2")}, full: true},
		{name: "the second range full", choice: Choice{Ranges: []Range{ranges[1], ranges[0]}, Used: set("10.0.0.2")}, full: true},
		{name: "one asked for", choice: Choice{Ranges: ranges, Wanted: addrs("fd00::77")}, want: addrs("10.0.0.2", "fd00::77")},
		{name: "both asked for, in any order", choice: Choice{Ranges: ranges, Wanted: addrs("fd00::77", "10.0.0.2")}, want: addrs("10.0.0.2", "fd00::77")},
	} {
		got, err := tt.choice.Choose()
		if isFull(err) != tt.full || err != nil != tt.full || !slices.Equal(got, tt.want) {
			t.Errorf("%s: Choose = %v, %v; want %v, full %v", tt.name, got, err, tt.want, tt.full)
		}
	}
	var taken *TakenError
	got, err := Choice{Ranges: ranges, Wanted: addrs("fd00::77"), Used: set("fd00::77")}.Choose()
	if !errors.As(err, &taken) || taken.Addr.String() != "fd00::77" || got != nil {
		t.Errorf("Choose of a used address = %v, %v; want none and a TakenError", got, err)
	}
}

func addrs(s ...string) []netip.Addr {
	var a []netip.Addr
	for _, s := range s {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

// An address that rests is taken when there is no other, the coolest first.
func TestNextLetsRest(t *testing.T) {
	t.Parallel()
	r := mustRange(t, "10.0.0.0/29")
	resting := map[string]time.Duration{"10.0.0.2": 3 * time.Second, "10.0.0.3": time.Second, "10.0.0.4": 2 * time.Second}
	rest := func(a netip.Addr) time.Duration { return resting[a.String()] }
	used := Set{}
	var got []string
	for range r.Size() {
		a, err := r.Next(netip.Addr{}, used, rest)
		if err != nil {
			t.Fatal(err)
		}
		used[a] = true
		got = append(got, a.String())
	}
	if want := []string{"10.0.0.5", "10.0.0.6", "10.0.0.3", "10.0.0.4", "10.0.0.2"}; !slices.Equal(got, want) {
		t.Errorf("addresses in the order of Next = %v; want %v", got, want)
	}
}

func TestRestrict(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, subnet, within, reserved string
		want                           string // all addresses, or an error
		size                           uint64
	}{
		{name: "nothing said", subnet: "10.0.0.0/29", want: "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6", size: 5},
		{name: "one span", subnet: "10.0.0.0/29", within: "10.0.0.3-10.0.0.4", want: "10.0.0.3 10.0.0.4", size: 2},
		{name: "a span beyond", subnet: "10.0.0.0/29", within: "10.0.0.5-10.9.0.0", want: "10.0.0.5 10.0.0.6", size: 2},
		{name: "several, overlapping, in any order", subnet: "10.0.0.0/29", within: "10.0.0.5,10.0.0.2,10.0.0.4-10.0.0.5", want: "10.0.0.2 10.0.0.4 10.0.0.5", size: 3},
		{name: "the gateway and broadcast never", subnet: "10.0.0.0/29", within: "10.0.0.0/29", want: "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6", size: 5},
		{name: "reserved", subnet: "10.0.0.0/29", reserved: "10.0.0.3-10.0.0.5", want: "10.0.0.2 10.0.0.6", size: 2},
		{name: "reserved at both ends", subnet: "10.0.0.0/29", reserved: "10.0.0.0/30,10.0.0.6", want: "10.0.0.4 10.0.0.5", size: 2},
		{name: "of the other family", subnet: "10.0.0.0/30", within: "fd00::9", reserved: "fd00::/8", want: "10.0.0.2", size: 1},
		{name: "outside", subnet: "10.0.0.0/29", within: "10.9.0.0/24", want: "none of 10.9.0.0-10.9.0.255 is in the subnet 10.0.0.0/29"},
		{name: "all reserved", subnet: "10.0.0.0/29", reserved: "10.0.0.0/8", want: "10.0.0.0-10.255.255.255 reserves all addresses of the subnet 10.0.0.0/29"},
		{name: "a huge hole", subnet: "fd00::/64", reserved: "fd00::3-fd00::ffff:ffff:ffff:fffd", want: "fd00::2 fd00::ffff:ffff:ffff:fffe fd00::ffff:ffff:ffff:ffff", size: 3},
	} {
		r, err := mustRange(t, tt.subnet).Restrict(spans(t, tt.within), spans(t, tt.reserved))
		if err != nil {
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: Restrict = %v; want %s", tt.name, err, tt.want)
			}
			continue
		}
		var got []string
		used := Set{}
		for range min(r.Size(), 9) {
			a, err := r.Next(netip.Addr{}, used, nil)
			if err != nil || !r.Contains(a) || !r.CanHave(a) {
				t.Fatalf("%s: Next = %s, %v", tt.name, a, err)
			}
			used[a] = true
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != tt.want || r.Size() != tt.size {
			t.Errorf("%s: addresses = %v, size %d; want %s, %d", tt.name, got, r.Size(), tt.want, tt.size)
		}
	}
}

func spans(t *testing.T, s string) []Span {
	t.Helper()
	var out []Span
	for item := range strings.SplitSeq(s, ",") {
		if item == "" {
			continue
		}
		span, err := ParseSpan(item)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, span)
	}
	return out
}

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "10.0.0.0/30", "10.0.0.1-10.0.0.9", "fd00::/64", "fd00::9-fd00::1", "10.0.0.1-fd00::1", "::ffff:1.2.3.4", "-", "fe80::1%x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSpan(in)
		if err != nil {
			return
		}
		again, err := ParseSpan(s.String())
		if err != nil || again != s || !s.Contains(s.First) || !s.Contains(s.Last) || s.size() == 0 {
			t.Errorf("ParseSpan(%q) = %v, of size %d; it reads back as %v, %v", in, s, s.size(), again, err)
		}
	})
}
