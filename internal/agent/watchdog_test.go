// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/reconcile"
	"github.com/percale-net/percale/internal/status"
)

func TestAgentWithAStuckLoopIsNotAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a := New(config.Settings{RunDir: "/run/percale"}, "test", slog.New(slog.DiscardHandler))
		hang := make(chan struct{})
		a.guardian = reconcile.New("guards", a.log, func(context.Context) (time.Duration, error) {
			return 0, errors.New("what fails is not stuck")
		})
		a.kernels = reconcile.New("kernel", a.log, func(context.Context) (time.Duration, error) {
			<-hang
			return 0, nil
		})
		go a.guardian.Run(ctx)
		go a.kernels.Run(ctx)
		time.Sleep(stuckAfter - time.Second)
		if err := a.alive(); err != nil {
			t.Errorf("alive = %v; want nil: no round has taken too long", err)
		}
		time.Sleep(time.Second)
		if err := a.alive(); err == nil || err.Error() != "the kernel loop has been in one round for more than 2m0s" {
			t.Errorf("alive = %v; want the kernel loop named", err)
		}
		first := a.alive()
		time.Sleep(time.Minute)
		if again := a.alive(); again == nil || again.Error() != first.Error() { // or each look would be logged
			t.Errorf("alive = %v; want the same as before: %v", again, first)
		}
		close(hang)
		synctest.Wait()
		if err := a.alive(); err != nil {
			t.Errorf("alive = %v; want nil: the round has ended", err)
		}
		cancel()
	})
}

// listenAsSystemd returns what is sent to a service manager from now on.
func listenAsSystemd(t *testing.T) func() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		b := make([]byte, 4096)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Error(err)
		}
		return string(b[:n])
	}
}

func TestTellSystemd(t *testing.T) {
	heard := listenAsSystemd(t)
	a := New(config.Settings{RunDir: t.TempDir()}, "test", slog.New(slog.DiscardHandler))
	a.tellSystemd(status.Status{Waiting: "store: one\ntwo"})
	if got, want := heard(), "STATUS=not ready: store: one; two"; got != want {
		t.Errorf("told %q; want %q", got, want)
	}
	a.tellSystemd(status.Status{Ready: true})
	if got, want := heard(), "READY=1\nSTATUS=ready"; got != want {
		t.Errorf("told %q; want %q", got, want)
	}
}

func TestWatchdogIsFedByWhoIsAlive(t *testing.T) {
	heard := listenAsSystemd(t)
	a := New(config.Settings{RunDir: t.TempDir()}, "test", slog.New(slog.DiscardHandler))
	stuck := errors.New("the kernel loop has been in one round for more than 2m0s")
	if err := a.tellAlive(time.Minute, stuck); err != stuck {
		t.Errorf("error = %v; want the reason, to be logged", err)
	}
	if p := a.board.Status().Problems; len(p) != 1 || p[0].Part != "watchdog" || p[0].Seen != stuck.Error() {
		t.Errorf("problems = %v; want what is stuck", p)
	}
	if err := errors.Join(a.tellAlive(0, nil), a.tellAlive(time.Minute, nil), notify("END")); err != nil {
		t.Error(err)
	}
	if got := []string{heard(), heard(), heard()}; !strings.HasPrefix(got[0], "STATUS=not ready: ") || got[1] != "WATCHDOG=1" || got[2] != "END" {
		t.Errorf("told %q; want the watchdog fed once, by who is alive and was asked", got)
	}
}

func TestWatchdogGoesOn(t *testing.T) {
	heard := listenAsSystemd(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	a := New(config.Settings{RunDir: t.TempDir()}, "test", slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.watchdog(ctx) }()
	heard() // what it waits for
	for range 3 {
		if got := heard(); got != "WATCHDOG=1" {
			t.Errorf("told %q; want WATCHDOG=1", got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWatchdogPeriod(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]time.Duration{
		0: period, 10 * time.Second: 5 * time.Second, time.Hour: period,
	} {
		if got := watchdogPeriod(limit); got != want {
			t.Errorf("limit %v: period %v; want %v", limit, got, want)
		}
	}
}
