// SPDX-License-Identifier: Apache-2.0

// Command percale tells an operator what the agent of this node does.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFine    = 0
	exitProblem = 1 // something is wrong with the network
	exitCannot  = 2 // the answer could not be had
)

// errProblem says that the answer was given and is not good.
var errProblem = errors.New("problem found")

func main() {
	os.Exit(run())
}

func run() int {
	err := command().Execute()
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errProblem):
		return exitProblem
	}
	fmt.Fprintln(os.Stderr, "percale:", err)
	return exitCannot
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "percale",
		Short: "Tell what the Percale agent of this node does",
		Long: "Tell what the Percale agent of this node does.\n" +
			"Exit status: 0 all is well, 1 something is wrong with the network, 2 no answer could be had.",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c := &client{}
	root.PersistentFlags().StringVar(&c.runDir, "run-dir", "/run/percale", "run directory of the agent to ask")
	root.PersistentFlags().StringVarP(&c.output, "output", "o", "text", "form of the answer: text or json")
	root.AddCommand(statusCommand(c), peersCommand(c), ipamCommand(c), planCommand(c))
	return root
}
