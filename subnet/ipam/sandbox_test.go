// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestOnlyWhatIsProvablyGoneIsGone(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Minute
	gone := Holder{Given: noon.Add(-grace), Ours: true, Here: true}
	with := func(fn func(*Holder)) Holder {
		h := gone
		fn(&h)
		return h
	}
	for name, c := range map[string]struct {
		holder Holder
		want   Fate
	}{
		"all signs agree":             {gone, Gone},
		"its port is there":           {with(func(h *Holder) { h.Port = true }), Live},
		"its port is not ours":        {with(func(h *Holder) { h.Port, h.Ours = true, false }), Live},
		"it answers":                  {with(func(h *Holder) { h.Heard = true }), Live},
		"another plugin gave it":      {with(func(h *Holder) { h.Ours = false }), Unknown},
		"looked at elsewhere":         {with(func(h *Holder) { h.Here = false }), Unknown},
		"just given":                  {with(func(h *Holder) { h.Given = noon.Add(-grace + time.Nanosecond) }), Young},
		"given in the future":         {with(func(h *Holder) { h.Given = noon.Add(time.Hour) }), Young},
		"another's, just given":       {with(func(h *Holder) { h.Given, h.Ours = noon, false }), Unknown},
		"nothing is known, years ago": {Holder{}, Unknown},
	} {
		if got := c.holder.Fate(noon, grace); got != c.want {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}

func TestSweepWantsTwoLooksApart(t *testing.T) {
	t.Parallel()
	const apart = 5 * time.Minute
	type look struct {
		at   time.Duration
		gone string
		due  string
	}
	for name, looks := range map[string][]look{
		"at first sight never":       {{0, "ab", ""}},
		"too soon":                   {{0, "a", ""}, {apart - 1, "a", ""}, {apart, "a", "a"}},
		"each by its own time":       {{0, "a", ""}, {time.Minute, "ba", ""}, {apart, "ba", "a"}, {apart + time.Minute, "ba", "ba"}},
		"seen alive between":         {{0, "a", ""}, {time.Minute, "", ""}, {apart, "a", ""}, {2 * apart, "a", "a"}},
		"due until it is freed":      {{0, "a", ""}, {apart, "a", "a"}, {2 * apart, "a", "a"}},
		"a clock that is set back":   {{apart, "a", ""}, {0, "a", ""}, {apart - 1, "a", ""}, {apart, "a", "a"}},
		"two looks at the same time": {{0, "a", ""}, {0, "a", ""}},
	} {
		var s Sweep[string]
		for i, l := range looks {
			due := s.Look(split(l.gone), noon.Add(l.at), apart)
			if want := split(l.due); !slices.Equal(due, want) {
				t.Errorf("%s: look %d: due %q; want %q", name, i, due, want)
			}
		}
	}
}

func split(s string) (all []string) {
	for _, r := range s {
		all = append(all, string(r))
	}
	return all
}

func TestForecast(t *testing.T) {
	t.Parallel()
	line := func(minutes int, used func(minute int) int) []int {
		var all []int
		for m := range minutes + 1 {
			all = append(all, used(m))
		}
		return all
	}
	for name, c := range map[string]struct {
		each []int // one a minute
		want time.Duration
	}{
		"nothing known":           {nil, 0},
		"too short":               {line(9, func(m int) int { return 100 + m }), 0},
		"one a minute":            {line(10, func(m int) int { return 100 + m }), 143 * time.Minute},
		"one in two minutes":      {line(60, func(m int) int { return 100 + m/2 }), 246 * time.Minute},
		"steady":                  {line(60, func(int) int { return 200 }), 0},
		"falling":                 {line(60, func(m int) int { return 200 - m }), 0},
		"full":                    {line(60, func(m int) int { return 193 + m }), 0},
		"further than a month":    {append(line(100, func(int) int { return 1 }), 2), 0},
		"what was long ago":       {append(line(200, func(int) int { return 1 }), line(200, func(int) int { return 5 })...), 0},
		"up and back to the same": {line(20, func(m int) int { return 100 + min(m, 20-m) }), 0},
	} {
		var tr Trend
		for m, used := range c.each {
			tr.Add(noon.Add(time.Duration(m)*time.Minute), uint64(used))
			tr.Add(noon.Add(time.Duration(m)*time.Minute+time.Second), 0) // too soon to count
		}
		got, ok := tr.Full(253)
		if ok != (c.want != 0) || (got-c.want).Abs() > c.want/50 {
			t.Errorf("%s: full in %s, %t; want %s", name, got, ok, c.want)
		}
	}
}

func TestForecastAfterTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	var tr Trend
	for m := range 20 {
		tr.Add(noon.Add(time.Duration(m)*time.Minute), uint64(m))
	}
	tr.Add(noon, 20)
	if in, ok := tr.Full(253); ok {
		t.Errorf("full in %s; want nothing known of a time that has not been", in)
	}
}
