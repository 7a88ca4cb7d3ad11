// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/status"
)

func peersCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "A table: every peer, how it is reached, whether the kernel has it",
		Long:  "A table: every peer, how it is reached, whether the kernel has it.\nExit status: 0 all programmed, 1 some are not, 2 no answer.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return answer(cmd, c, query[[]status.Peer]{path: "/peers", text: printPeers, fine: allProgrammed})
		},
	}
}

func printPeers(w io.Writer, peers []status.Peer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PEER\tSUBNET\tUPLINK\tPATH\tKERNEL")
	for _, p := range peers {
		state := "ok"
		if !p.Programmed {
			state = "MISSING " + p.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable(p.Node), list(p.Subnets), list(p.Uplinks), p.Path, state)
	}
	t.Flush()
}

func allProgrammed(peers []status.Peer) bool {
	for _, p := range peers {
		if !p.Programmed {
			return false
		}
	}
	return true
}
