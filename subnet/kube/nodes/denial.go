// SPDX-License-Identifier: Apache-2.0

package nodes

import "time"

// loading is how long a refusal for want of rights says nothing of the rights: an
// API server that has just started may know no role yet.
const loading = 15 * time.Second

// A Denial tells a refusal for want of rights that lasts from one that passes. The
// zero Denial is ready. It is for one goroutine.
type Denial struct {
	since time.Time // when the first of a row of refusals was met; zero: the last answer was none
}

// Passes takes whether a request was refused so, and reports whether it was, and
// may not be if it is made again.
func (d *Denial) Passes(refused bool) bool {
	if !refused {
		d.since = time.Time{}
		return false
	}
	if d.since.IsZero() {
		d.since = time.Now()
	}
	return time.Since(d.since) < loading
}
