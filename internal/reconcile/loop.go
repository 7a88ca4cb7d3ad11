// SPDX-License-Identifier: Apache-2.0

// Package reconcile runs a round again and again until it has nothing to do.
// It knows nothing of networks.
package reconcile

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Delays after a failed round: the first one, doubled with each further
// failure up to the last. A kick may bring the cure, so it waits for the first
// alone.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// The share of time that rounds take is bounded, even when kicks never end:
// after each the loop rests for restFactor times as long as it took, at most
// longestRest. A kick after the rest is served at once.
const (
	restFactor  = 2
	longestRest = 500 * time.Millisecond
)

// A Loop calls Round at start, on each Kick, when the last round asked for it,
// and after a failure. Kicks that come together, or while a round runs or the
// loop rests after it, make one round.
type Loop struct {
	name  string
	log   *slog.Logger
	round Round
	kick  chan struct{}
	began atomic.Pointer[time.Time] // the round that runs; nil: none does
	runs  atomic.Bool
}

// A Round does all that there is to do, and is safe to repeat. It returns when
// it is to run again even if nothing kicks; 0 means never.
type Round func(ctx context.Context) (again time.Duration, err error)

// New returns a Loop that does not run yet.
func New(name string, log *slog.Logger, round Round) *Loop {
	return &Loop{name: name, log: log, round: round, kick: make(chan struct{}, 1)}
}

// Kick asks for a round soon. It never blocks and may be called from any
// goroutine, before Run too.
func (l *Loop) Kick() {
	select {
	case l.kick <- struct{}{}:
	default: // one is due already
	}
}

// Name returns the name by which the loop logs.
func (l *Loop) Name() string { return l.name }

// Busy returns how long the present round has been running at now, 0 if none
// is. It never blocks and may be called from any goroutine.
func (l *Loop) Busy(now time.Time) time.Duration {
	if began := l.began.Load(); began != nil {
		return now.Sub(*began)
	}
	return 0
}

// Run runs rounds until ctx ends, and returns nil then. It logs the change to
// failing and back, once each; a different failure is a change too. It may run
// again when it has ended, and not twice at once.
func (l *Loop) Run(ctx context.Context) error {
	if !l.runs.CompareAndSwap(false, true) {
		panic("loop " + l.name + " runs already: two goroutines would write what only one may")
	}
	defer l.runs.Store(false)
	retry, failing := firstRetry, ""
	for {
		select { // this round serves all kicks so far
		case <-l.kick:
		default:
		}
		began := time.Now()
		l.began.Store(&began)
		again, err := l.round(ctx)
		l.began.Store(nil)
		ended := time.Now()
		rest := restFactor * ended.Sub(began)
		if ctx.Err() != nil {
			return nil
		}
		failing = l.tell(failing, err)
		if err == nil {
			retry = firstRetry
		} else {
			rest = max(rest, firstRetry)
			again, retry = retry, min(2*retry, lastRetry)
		}
		var due time.Time
		if again > 0 {
			due = ended.Add(again)
		}
		if !sleep(ctx, min(rest, longestRest)) || !l.wait(ctx, due) {
			return nil
		}
	}
}

// tell logs that rounds begin to fail, fail in another way or work again, given
// how the last one failed, and returns how this one did; "": not.
func (l *Loop) tell(failing string, err error) string {
	switch {
	case err == nil && failing != "":
		l.log.Info("works again", "loop", l.name)
	case err != nil && err.Error() != failing:
		l.log.Error("round failed, will be tried again", "loop", l.name, "err", err)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// sleep reports whether ctx still lives after d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// wait returns true when the next round is due, by a kick or at the given time
// (zero: never), and false when ctx has ended.
func (l *Loop) wait(ctx context.Context, at time.Time) bool {
	var due <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-l.kick:
		return true
	case <-due:
		return true
	}
}
