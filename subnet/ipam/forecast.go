// SPDX-License-Identifier: Apache-2.0

package ipam

import "time"

// Bounds of a forecast. Less than leastSpan tells a rollout from a trend badly,
// and what is further off than farthest nobody acts on.
const (
	leastSpan   = 10 * time.Minute
	samplePause = time.Minute
	mostSamples = 121 // two hours
	farthest    = 30 * 24 * time.Hour
)

// A Trend is how the use of a subnet went lately. The zero Trend knows nothing.
// It may not be used concurrently.
type Trend struct{ samples []sample }

type sample struct {
	at   time.Time
	used uint64
}

// Add tells how many addresses are in use. What comes less than a minute after
// the last is left out; of a clock that was set back nothing before counts.
func (t *Trend) Add(at time.Time, used uint64) {
	if n := len(t.samples); n > 0 {
		switch pause := at.Sub(t.samples[n-1].at); {
		case pause < 0:
			t.samples = nil
		case pause < samplePause:
			return
		}
	}
	t.samples = append(t.samples, sample{at, used})
	if n := len(t.samples) - mostSamples; n > 0 {
		t.samples = append([]sample(nil), t.samples[n:]...)
	}
}

// Full returns for how long total addresses last from the newest sample on if
// use grows as it did: along the line of least squares through the samples. It
// is not ok where use does not grow, or not so that the end is in sight.
func (t *Trend) Full(total uint64) (in time.Duration, ok bool) {
	n := len(t.samples)
	if n < 3 {
		return 0, false
	}
	first, last := t.samples[0], t.samples[n-1]
	if last.at.Sub(first.at) < leastSpan || last.used <= first.used || last.used >= total {
		return 0, false
	}
	var meanAt, meanUsed float64
	for _, s := range t.samples {
		meanAt += s.at.Sub(first.at).Seconds() / float64(n)
		meanUsed += float64(s.used) / float64(n)
	}
	var up, across float64
	for _, s := range t.samples {
		d := s.at.Sub(first.at).Seconds() - meanAt
		up += d * (float64(s.used) - meanUsed)
		across += d * d
	}
	if up <= 0 || across <= 0 {
		return 0, false
	}
	seconds := float64(total-last.used) / (up / across)
	if seconds > farthest.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
