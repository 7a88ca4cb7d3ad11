// SPDX-License-Identifier: Apache-2.0

package local

import (
	"slices"
	"testing"

	"github.com/percale-net/percale/subnet/ipam"
)

func span(t *testing.T, s string) ipam.Span {
	t.Helper()
	span, err := ipam.ParseSpan(s)
	if err != nil {
		t.Fatal(err)
	}
	return span
}

func TestSurveyTellsWhatPodsGet(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	whole := ranges(t, "10.42.7.0/24", "fd00::/64")
	bounded, err := whole[0].Restrict(nil, []ipam.Span{span(t, "10.42.7.0/26"), span(t, "10.42.7.100")})
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		ranges []ipam.Range
		want   []ipam.Span
	}{
		{ranges: whole},
		{
			ranges: []ipam.Range{bounded, whole[1]},
			want:   []ipam.Span{span(t, "10.42.7.64-10.42.7.99"), span(t, "10.42.7.101-10.42.7.254")},
		},
		{ranges: whole}, // the configuration is changed back
	} {
		own := Owner{Container: string(rune('a' + i)), Ifname: "eth0"}
		if _, err := s.Reserve(t.Context(), own, tt.ranges); err != nil {
			t.Fatal(err)
		}
		v, err := s.Survey()
		if err != nil || len(v.Odd) > 0 || !slices.Equal(v.Bounds, tt.want) {
			t.Errorf("ADD %d: bounds = %v, odd %v, %v; want %v", i, v.Bounds, v.Odd, err, tt.want)
		}
	}
	for _, bad := range []string{"10.42.7.64-10.42.7.99\n10.42.7.1", "x", "\n", "10.42.7.9-10.42.7.2"} {
		put(t, s, "percale.ranges", bad+" ?\n")
		if v, err := s.Survey(); err != nil || v.Bounds != nil {
			t.Errorf("with %q: bounds = %v, %v; want none", bad, v.Bounds, err)
		}
	}
}

func FuzzParseBounds(f *testing.F) {
	f.Add("10.42.7.64-10.42.7.99\n10.42.7.101\nfd00::/64\n")
	f.Add("10.42.7.64-")
	f.Fuzz(func(t *testing.T, text string) {
		var again string
		for _, s := range parseBounds(text) {
			again += s.String() + "\n"
		}
		if got := parseBounds(again); !slices.Equal(got, parseBounds(text)) {
			t.Errorf("bounds of %q read back as %v", text, got)
		}
	})
}
