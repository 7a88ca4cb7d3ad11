// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"slices"
	"time"
)

// A Holder is an attachment of a sandbox that holds addresses, as far as its
// node knows it.
type Holder struct {
	Given time.Time // when its newest address was given
	Ours  bool      // percale-cni gave all its addresses, so the name of its port is known
	Here  bool      // percale-cni makes ports in the network namespace that was looked at
	Port  bool      // the node's end of its veth pair is there
	Heard bool      // one of its addresses has answered the node lately
}

// A Fate is what can be said of a holder.
type Fate string

// The fates. Only what is Gone may be freed.
const (
	Live    Fate = "live"    // its port is there, or it answers
	Young   Fate = "young"   // it has no port, and may be about to get one
	Unknown Fate = "unknown" // it has no port that we could know: that says nothing
	Gone    Fate = "gone"    // its sandbox does not exist any more
)

// Fate says what became of h. grace is how long a sandbox may take from its
// address to its port. A holder of the future, which a clock that was set back
// makes, counts as young.
func (h Holder) Fate(now time.Time, grace time.Duration) Fate {
	switch {
	case h.Port || h.Heard:
		return Live
	case !h.Ours || !h.Here:
		return Unknown
	case now.Sub(h.Given) < grace:
		return Young
	}
	return Gone
}

// A Sweep remembers since when each of several things has looked gone. The zero
// Sweep knows of none. It may not be used concurrently.
type Sweep[K comparable] struct{ since map[K]time.Time }

// Look takes what looks gone now, which is all that does, and returns those
// that did so at each look since one that was at least apart ago, in the order
// given. What is missing once begins anew.
func (s *Sweep[K]) Look(gone []K, now time.Time, apart time.Duration) (due []K) {
	since := make(map[K]time.Time, len(gone))
	for _, k := range gone {
		first, seen := s.since[k]
		if !seen || now.Before(first) {
			first = now
		}
		since[k] = first
		if seen && now.Sub(first) >= apart {
			due = append(due, k)
		}
	}
	s.since = since
	return slices.Clip(due)
}
