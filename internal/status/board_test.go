// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestFaultKeepsTheTimeItWasFirstSeen(t *testing.T) {
	first := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	var s Status
	s.Fault("kernel", errors.New("a"), first)
	s.Fault("store", errors.New("b"), first)
	s.Fault("kernel", errors.New("c"), first.Add(time.Hour))
	want := []Problem{{"kernel", "c", first}, {"store", "b", first}}
	if !slices.Equal(s.Problems, want) {
		t.Errorf("problems = %v; want %v", s.Problems, want)
	}
	s.Fault("kernel", nil, first)
	s.Fault("lease", nil, first)
	if !slices.Equal(s.Problems, want[1:]) {
		t.Errorf("problems = %v; want %v", s.Problems, want[1:])
	}
}

// A report that was handed out is not changed by what happens later.
func TestStatusIsACopy(t *testing.T) {
	b := NewBoard(Status{})
	b.Update(func(s *Status) { s.Fault("kernel", errors.New("a"), time.Time{}) })
	got := b.Status()
	b.Update(func(s *Status) { s.Fault("kernel", errors.New("b"), time.Time{}) })
	if got.Problems[0].Seen != "a" {
		t.Errorf("an older report says %q now; want what it said", got.Problems[0].Seen)
	}
}
