// SPDX-License-Identifier: Apache-2.0

package kubenode

import "time"

// A bucket bounds how often something is done: burst times at once, and then
// once each every. Its zero value with these two set is full.
type bucket struct {
	burst int
	every time.Duration
	until time.Time // when it is full again
}

// wait returns for how long there is nothing to take.
func (b *bucket) wait(now time.Time) time.Duration {
	return max(0, b.until.Sub(now.Add(time.Duration(b.burst-1)*b.every)))
}

// take takes one, and reports whether there was one.
func (b *bucket) take(now time.Time) bool {
	if b.wait(now) > 0 {
		return false
	}
	if b.until.Before(now) {
		b.until = now
	}
	b.until = b.until.Add(b.every)
	return true
}
