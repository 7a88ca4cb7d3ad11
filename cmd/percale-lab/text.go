// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/lab"
)

// next says what to type to look around in a lab.
func next(l *lab.Lab) string {
	me := os.Args[0]
	if l.Name() != defaultName {
		me += " --name " + l.Name()
	}
	link := "flannel.1"
	if !l.Spec().Families.V4() {
		link = "flannel-v6.1"
	}
	lines := [][2]string{
		{"status", "every node at a glance"},
		{"exec n1 -- percale status", "what the agent of node n1 says"},
		{"exec n1 -- ip route", "a route for each peer"},
		{"exec n1 -- ip neigh show dev " + link, "which MAC each peer's device has"},
		{"exec n1 -- bridge fdb show dev " + link, "which node each MAC is on"},
		{"exec n1-p1 -- ip address", "a pod's own address"},
		{"down", "remove it all"},
	}
	var b strings.Builder
	b.WriteString("Next:\n")
	for _, line := range lines {
		fmt.Fprintf(&b, "  %-*s  # %s\n", len(me)+42, me+" "+line[0], line[1])
	}
	return b.String()
}

// printStatus prints a row for each agent, and below what went wrong.
func printStatus(cmd *cobra.Command, l *lab.Lab) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tAGENT\tUPLINK\tSUBNET\tMTU\tPEERS\tPODS\tPROBLEM")
	for _, n := range l.Nodes() {
		for k := range l.Spec().Networks {
			printAgent(cmd, w, n.Agent(k))
		}
	}
	return w.Flush()
}

// printAgent prints the row of one agent.
func printAgent(cmd *cobra.Command, w io.Writer, a *lab.Agent) {
	s, err := a.Status(cmd.Context())
	agent, problem := "ready", ""
	switch {
	case a.PID() == 0:
		agent = "stopped"
	case err != nil:
		agent, problem = "silent", err.Error()
	case !s.Ready:
		agent, problem = "waiting", s.Waiting
	}
	for _, p := range s.Problems {
		problem = cmp.Or(problem, p.Part+": "+p.Seen)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d/%d\t%d\t%s\n", a.Name(), agent, list(s.Uplink.Addresses), list(s.Subnets),
		s.PodMTU, s.Peers.Programmed, s.Peers.Wanted, a.Pods(), problem)
}

// list writes values with commas between, or a dash for none.
func list[T fmt.Stringer](values []T) string {
	var texts []string
	for _, v := range values {
		texts = append(texts, v.String())
	}
	return cmp.Or(strings.Join(texts, ","), "-")
}
