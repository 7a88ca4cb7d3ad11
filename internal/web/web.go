// SPDX-License-Identifier: Apache-2.0

// Package web serves what the agent reports: /healthz, /readyz and /metrics where
// the flags say, and the whole status on a unix socket. It starts before anything
// else and depends on nothing else.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/percale-net/percale/internal/status"
)

// Health returns the handler of /healthz, which says that the agent works, or
// with alive's error what in it does not, /readyz, which says whether the peers
// known to the store are in the kernel, and if not what is waited for, and
// /metrics.
func Health(board *status.Board, alive func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := alive(); err != nil {
			http.Error(w, "percaled must be restarted: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "percaled is running\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s := board.Status(); !s.Ready {
			http.Error(w, "percaled is not ready yet: "+s.Waiting, http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "percaled is ready\n")
	})
	mux.Handle("GET /metrics", Metrics(board))
	return mux
}

// Report returns the handler of the whole report: /status and /peers, as JSON,
// beside what Health serves.
func Report(board *status.Board, alive func() error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", Health(board, alive))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		s := board.Status()
		addProcess(&s)
		write(w, s)
	})
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, _ *http.Request) {
		write(w, board.Peers())
	})
	return mux
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v) // an error means that the client went away
}

// Socket returns where the agent of a run directory serves its report.
func Socket(runDir string) string { return filepath.Join(runDir, "percaled.sock") }

// ListenSocket listens on the unix socket of a run directory, for root alone.
// The caller holds the directory's lock, so a socket found there is a leftover.
func ListenSocket(runDir string) (net.Listener, error) {
	path := Socket(runDir)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("serve status: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("serve status: %w", err)
	}
	return l, nil
}

// Serve serves h on l until ctx ends, and closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
