// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// A Span is the addresses from First to Last, both included, of one family.
type Span struct{ First, Last netip.Addr }

// ParseSpan reads an address, a prefix, or two addresses with a "-" between.
func ParseSpan(s string) (Span, error) {
	bad := fmt.Errorf("%.60q: want an address, a prefix, or first-last", s)
	if p, err := netip.ParsePrefix(s); err == nil {
		return SpanOf(p), valid(SpanOf(p), bad)
	}
	first, last, two := strings.Cut(s, "-")
	a, err := netip.ParseAddr(strings.TrimSpace(first))
	b := a
	if two && err == nil {
		b, err = netip.ParseAddr(strings.TrimSpace(last))
	}
	if err != nil {
		return Span{}, bad
	}
	return Span{a, b}, valid(Span{a, b}, bad)
}

func valid(s Span, bad error) error {
	if s.First.Is4() != s.Last.Is4() || s.First.Is4In6() || s.Last.Is4In6() ||
		s.First.Zone() != "" || s.Last.Zone() != "" || s.Last.Less(s.First) {
		return bad
	}
	return nil
}

// SpanOf returns all addresses of a prefix.
func SpanOf(p netip.Prefix) Span {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return Span{p.Masked().Addr(), last}
}

// String returns the form that ParseSpan reads.
func (s Span) String() string {
	if s.First == s.Last {
		return s.First.String()
	}
	return s.First.String() + "-" + s.Last.String()
}

// Contains reports whether a is in s.
func (s Span) Contains(a netip.Addr) bool {
	return a.Is4() == s.First.Is4() && !a.Less(s.First) && !s.Last.Less(a)
}

// size returns the number of addresses; math.MaxUint64 stands for that many and
// more.
func (s Span) size() uint64 {
	hi0, lo0 := halves(s.First)
	hi1, lo1 := halves(s.Last)
	if hi1-hi0 > 1 || hi1-hi0 == 1 && lo1 >= lo0 || hi1 == hi0 && lo1-lo0 == math.MaxUint64 {
		return math.MaxUint64
	}
	return lo1 - lo0 + 1
}

func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// meet returns what is in a span of a and in one of b.
func meet(a, b []Span) []Span {
	var out []Span
	for _, x := range a {
		for _, y := range b {
			if x.First.Is4() != y.First.Is4() {
				continue
			}
			s := Span{x.First, x.Last}
			if s.First.Less(y.First) {
				s.First = y.First
			}
			if y.Last.Less(s.Last) {
				s.Last = y.Last
			}
			if !s.Last.Less(s.First) {
				out = append(out, s)
			}
		}
	}
	return join(out)
}

// join sorts spans of one family and joins those that overlap.
func join(spans []Span) []Span {
	slices.SortFunc(spans, func(a, b Span) int {
		return cmp.Or(a.First.Compare(b.First), a.Last.Compare(b.Last))
	})
	var out []Span
	for _, s := range spans {
		if n := len(out); n > 0 && !out[n-1].Last.Less(s.First) {
			if out[n-1].Last.Less(s.Last) {
				out[n-1].Last = s.Last
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// without returns the spans less what is in holes.
func without(spans, holes []Span) []Span {
	for _, h := range holes {
		var out []Span
		for _, s := range spans {
			if h.First.Is4() != s.First.Is4() || h.Last.Less(s.First) || s.Last.Less(h.First) {
				out = append(out, s)
				continue
			}
			if s.First.Less(h.First) {
				out = append(out, Span{s.First, h.First.Prev()})
			}
			if h.Last.Less(s.Last) {
				out = append(out, Span{h.Last.Next(), s.Last})
			}
		}
		spans = out
	}
	return spans
}
