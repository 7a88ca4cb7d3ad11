// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/web"
)

// serve answers on the socket, and on the health port if there is one. A port
// that is taken is a problem to show, and no reason to stop the data plane.
func (a *Agent) serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return a.watch(ctx, "status socket", func(ctx context.Context) error {
			l, err := web.ListenSocket(a.settings.RunDir)
			return a.serveOn(ctx, web.Report(a.board, a.alive), l, err)
		})
	})
	if a.settings.HealthzPort != 0 {
		group.Go(func() error {
			return a.watch(ctx, "health server", func(ctx context.Context) error {
				where := net.JoinHostPort(a.settings.HealthzIP.String(), strconv.Itoa(a.settings.HealthzPort))
				l, err := net.Listen("tcp", where)
				return a.serveOn(ctx, web.Health(a.board, a.alive), l, err)
			})
		})
	}
	return group.Wait()
}

func (a *Agent) serveOn(ctx context.Context, h http.Handler, l net.Listener, err error) error {
	if err != nil {
		return err
	}
	return web.Serve(ctx, l, h)
}

// errRuns says that an agent works with the run directory.
var errRuns = errors.New("another percaled runs")

// lockRunDir makes sure that no other agent works with the directory. The lock
// goes with the process, however that ends.
func lockRunDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the run directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the run directory: %w: percaled runs as root", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w with --run-dir %s: stop it, or give this one its own --run-dir, --state-dir and --subnet-file", errRuns, dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
