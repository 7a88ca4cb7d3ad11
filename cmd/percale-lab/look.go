// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/netns"
)

func execCommand(name *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec NODE|POD|sw [--] COMMAND…",
		Short: "Run a command in a node (n1), a pod (n1-p1) or at the switch (sw)",
		Long: "Run a command in a namespace of the lab. On a node, percale is told --run-dir of the node's first\n" +
			"agent, if it is told none. The exit code is the command's.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			return inside(cmd, l, args)
		},
	}
	cmd.Flags().SetInterspersed(false) // flags behind the node are the command's
	return cmd
}

// inside runs a command in the namespace that args begin with.
func inside(cmd *cobra.Command, l *lab.Lab, args []string) error {
	ns := netns.Named(l.Name() + "-" + args[0])
	if _, err := os.Stat(ns.Path()); err != nil {
		return fmt.Errorf("lab %s has no %s: want a node such as n1, a pod such as n1-p1, or sw", l.Name(), args[0])
	}
	path := l.Spec().Bin + string(filepath.ListSeparator) + os.Getenv("PATH")
	if err := os.Setenv("PATH", path); err != nil { // so that percale is found, as installed
		return err
	}
	argv := args[1:]
	if argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return fmt.Errorf("exec in %s: want a command", args[0])
	}
	for _, n := range l.Nodes() {
		if n.Name() == args[0] {
			argv = toldRunDir(argv, n.Agent(0).RunDir())
		}
	}
	c := exec.Command(argv[0], argv[1:]...) // which gets ^C itself
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := ns.Start(c); err != nil {
		return err
	}
	return c.Wait()
}

// toldRunDir adds --run-dir to a command line of percale that has none: the
// nodes of a lab share the machine's files, so each has a run directory.
func toldRunDir(argv []string, dir string) []string {
	given := func(arg string) bool { return strings.HasPrefix(arg, "--run-dir") }
	if filepath.Base(argv[0]) != "percale" || slices.ContainsFunc(argv, given) {
		return argv
	}
	return slices.Insert(slices.Clone(argv), 1, "--run-dir="+dir)
}

func statusCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show every node: its agent, subnet and peers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			return printStatus(cmd, l)
		},
	}
}

func proveCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "prove",
		Short: "Send traffic between every two pods, both ways, and print one matrix",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.Open(*name)
			if err != nil {
				return err
			}
			proof, err := l.Prove(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), proof, "\n", next(l))
			if len(proof.Bad()) > 0 {
				return errFound
			}
			return nil
		},
	}
}
