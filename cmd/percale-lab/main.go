// SPDX-License-Identifier: Apache-2.0

// Command percale-lab runs several Percale nodes on this machine, each in a
// network namespace, and proves that their pods reach each other.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// defaultName is the name of a lab that was given none.
const defaultName = "pl"

// version is set when a release is linked.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errFound says that the command could do its work and found something wrong,
// which it has printed: exit code 1. Every other error is code 2.
var errFound = errors.New("problem found")

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	case errors.Is(err, errFound):
		return 1
	}
	fmt.Fprintf(stderr, "percale-lab: %v\n", err)
	return 2
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "percale-lab",
		Short: "Several Percale nodes on this machine",
		Long: "percale-lab makes several nodes on this machine, each a network namespace with an agent of its own,\n" +
			"on one switch, with etcd and pods. It needs root (or a user namespace) and nothing else installed.\n" +
			"Nothing of the machine's own network is touched.",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	name := root.PersistentFlags().String("name", defaultName, "the lab's name, with which every namespace begins")
	root.AddCommand(upCommand(name), execCommand(name), statusCommand(name), proveCommand(name),
		downCommand(name), etcdCommand())
	return root
}
