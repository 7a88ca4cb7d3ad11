// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKicksThatComeTogetherMakeOneRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rounds, gate := 0, make(chan struct{})
		loop := start(t, func(context.Context) (time.Duration, error) {
			rounds++
			<-gate
			return 0, nil
		})
		synctest.Wait() // the first round is under way
		for range 1000 {
			loop.Kick()
		}
		close(gate)
		synctest.Wait()
		if rounds != 2 {
			t.Errorf("%d rounds after 1,000 kicks during the first; want 2", rounds)
		}
	})
}

func TestKickDuringARoundMakesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rounds := 0
		var loop *Loop
		loop = New("test", slog.New(slog.DiscardHandler), func(context.Context) (time.Duration, error) {
			if rounds++; rounds == 1 {
				loop.Kick()
			}
			return 0, nil
		})
		run(t, loop)
		synctest.Wait()
		if rounds != 2 {
			t.Errorf("%d rounds; want 2, since the first may have missed the news", rounds)
		}
	})
}

func TestFailureIsRetriedWithBackoffAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		var out bytes.Buffer
		loop := New("test", slog.New(slog.NewTextHandler(&out, nil)), func(context.Context) (time.Duration, error) {
			at = append(at, time.Since(began))
			if len(at) < 4 {
				return 0, errors.New("no way")
			}
			return 0, nil
		})
		run(t, loop)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond}
		if len(at) != len(want) {
			t.Fatalf("rounds at %v; want %v", at, want)
		}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("rounds at %v; want %v", at, want)
			}
		}
		if n := strings.Count(out.String(), "no way"); n != 1 {
			t.Errorf("the failure was logged %d times; want once:\n%s", n, out.String())
		}
		if !strings.Contains(out.String(), "works again") {
			t.Errorf("recovery was not logged:\n%s", out.String())
		}
	})
}

func TestEndlessKicksLeaveTimeForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		var loop *Loop
		loop = New("test", slog.New(slog.DiscardHandler), func(context.Context) (time.Duration, error) {
			at = append(at, time.Since(began))
			loop.Kick()
			time.Sleep(100 * time.Millisecond) // the work of a round
			return 0, nil
		})
		run(t, loop)
		time.Sleep(950 * time.Millisecond)
		synctest.Wait()
		if want := []time.Duration{0, 300 * time.Millisecond, 600 * time.Millisecond, 900 * time.Millisecond}; !slices.Equal(at, want) {
			t.Errorf("rounds of 100 ms that kick themselves began at %v; want %v", at, want)
		}
	})
}

func TestKickDuringBackoffIsServedSoonNotAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rounds := 0
		var loop *Loop
		loop = New("test", slog.New(slog.DiscardHandler), func(context.Context) (time.Duration, error) {
			rounds++
			loop.Kick() // as its own failed writes would
			return 0, errors.New("no way")
		})
		run(t, loop)
		time.Sleep(time.Minute)
		synctest.Wait()
		if rounds < 590 || rounds > 610 {
			t.Errorf("%d rounds in a minute of failure and kicks; want one each %v", rounds, firstRetry)
		}
	})
}

func TestRoundSaysWhenItIsDueAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rounds := 0
		start(t, func(context.Context) (time.Duration, error) {
			rounds++
			return 30 * time.Second, nil
		})
		time.Sleep(95 * time.Second)
		synctest.Wait()
		if rounds != 4 {
			t.Errorf("%d rounds in 95 s at one each 30 s; want 4", rounds)
		}
	})
}

func start(t *testing.T, round Round) *Loop {
	t.Helper()
	loop := New("test", slog.New(slog.DiscardHandler), round)
	run(t, loop)
	return loop
}

func run(t *testing.T, loop *Loop) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v when its context ended; want nil", err)
		}
	})
}
