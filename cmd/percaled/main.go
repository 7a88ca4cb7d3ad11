// SPDX-License-Identifier: Apache-2.0

// Command percaled is the node agent: it leases a pod subnet, programs the way
// to every other node's, and keeps both.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/percale-net/percale/internal/agent"
	"github.com/percale-net/percale/internal/cnifiles"
	"github.com/percale-net/percale/internal/config"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFine     = 0
	exitProblem  = 1 // what waiting cannot cure
	exitBadUsage = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	settings, err := config.Parse(args, os.Environ())
	switch {
	case errors.Is(err, config.ErrHelp):
		fmt.Fprint(stdout, config.Usage())
		return exitFine
	case errors.Is(err, config.ErrVersion):
		fmt.Fprintln(stdout, version)
		return exitFine
	case err != nil:
		fmt.Fprintln(stderr, "percaled:", err)
		return exitBadUsage
	}
	if settings.InstallCNI != "" {
		return installCNI(settings.InstallCNI, stdout, stderr)
	}
	level := slog.LevelInfo
	if settings.Debug() {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	if settings.Cleanup {
		if err := agent.Cleanup(ctx, settings, stdout); err != nil {
			fmt.Fprintln(stderr, "percaled --cleanup:", err)
			return exitProblem
		}
		return exitFine
	}
	log.Info("percaled starts", "version", version, "node", settings.NodeName, "settings", settings)
	if err := agent.New(settings, version, log).Run(ctx); err != nil {
		log.Error("percaled ends", "err", err)
		return exitProblem
	}
	log.Info("percaled ends; the data plane stays")
	return exitFine
}

// installCNI copies the plugins that stand beside us.
func installCNI(dir string, stdout, stderr io.Writer) int {
	self, err := os.Executable()
	if err == nil {
		err = cnifiles.Install(filepath.Dir(self), dir, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "percaled --install-cni:", err)
		return exitProblem
	}
	return exitFine
}
