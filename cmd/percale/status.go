// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/internal/status"
)

func statusCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "One screen: subnet, uplink, peers, last round, what is wrong",
		Long:  "One screen: subnet, uplink, peers, last round, what is wrong.\nExit status: 0 ready, 1 not ready or a problem, 2 no answer.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return answer(cmd, c, query[status.Status]{
				path: "/status",
				text: func(w io.Writer, s status.Status) { printStatus(w, s, time.Now()) },
				fine: func(s status.Status) bool {
					return s.Ready && len(s.Problems) == 0 && len(s.Refused) == 0
				},
			})
		},
	}
}

// printStatus writes s as a screen of at most 100 columns, but for texts that
// came from outside.
func printStatus(w io.Writer, s status.Status, now time.Time) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("node", "%s  up %s  (%s, pid %d)", s.Node, age(s.Started, now), s.Version, s.PID)
	if s.Ready {
		line("state", "ready")
	} else {
		line("state", "NOT READY  %s", inShort(s))
	}
	if len(s.Subnets) > 0 {
		line("subnet", "%s  %s", list(s.Subnets), lasting(s, now))
	}
	if u := s.Uplink; u.Name != "" {
		line("uplink", "%s %s  mtu %d  (%s)", u.Name, list(u.Addresses), u.MTU, u.Why)
		if list(u.Published) != list(u.Addresses) {
			line("", "published to peers as %s", list(u.Published))
		}
	}
	for _, d := range s.Devices {
		line("device", "%s  vni %d  udp/%d  mac %s  mtu %d", d.Name, d.VNI, d.Port, d.MAC, d.MTU)
	}
	if s.PodMTU != 0 {
		line("pods", "mtu %d", s.PodMTU)
	}
	for i, a := range s.Addresses {
		line([]string{"addresses", ""}[min(i, 1)], "%s", addressUse(a, now))
	}
	if len(s.Sysctls) > 0 {
		line("sysctls", "%s", strings.Join(s.Sysctls, "  "))
	}
	line("peers", "%d of %d programmed  (%s)", s.Peers.Programmed, s.Peers.Wanted, or(s.Backend, "no backend yet"))
	line("store", "%s  %s", s.Store.Kind, storeState(s, now))
	if len(s.Kubernetes.Conditions) > 0 {
		line("kubernetes", "%s", conditions(s.Kubernetes.Conditions))
	}
	line("kernel", "%s", rounds(s.Kernel, now))
	line("firewall", "%s  %s", or(s.Firewall.Mode, "not chosen yet"), rounds(s.Firewall.Rounds, now))
	if g := s.Guards; g.Tunnel != "" || g.Pods > 0 {
		line("guards", "%s", guards(g))
	}
	for i, text := range repairs(s) {
		line([]string{"repairs", ""}[min(i, 1)], "%s", text)
	}
	printFindings(w, s, now)
}

// inShort returns why the agent waits, without what stands under problems.
func inShort(s status.Status) string {
	for _, p := range s.Problems {
		if strings.HasPrefix(s.Waiting, p.Part+": ") {
			return p.Part + ", see problems below"
		}
	}
	return s.Waiting
}

func printFindings(w io.Writer, s status.Status, now time.Time) {
	if len(s.Problems) > 0 {
		fmt.Fprintln(w, "\nproblems")
		for _, p := range s.Problems {
			fmt.Fprintf(w, "  %s (for %s): %s\n", p.Part, age(p.Since, now), indent(p.Seen))
		}
	}
	if len(s.Refused) > 0 {
		fmt.Fprintln(w, "\nrefused leases")
		for _, r := range s.Refused {
			fmt.Fprintf(w, "  %s (%s): %s\n", printable(r.Lease), printable(or(r.Node, "node unknown")), printable(r.Reason))
		}
	}
	if len(s.Notes) > 0 {
		fmt.Fprintln(w, "\nnotes")
		for _, n := range s.Notes {
			fmt.Fprintf(w, "  %s\n", n)
		}
	}
}

func rounds(r status.Rounds, now time.Time) string {
	if r.Count == 0 {
		return "no round yet"
	}
	s := fmt.Sprintf("round %d, %s ago, took %s", r.Count, age(r.Last, now), r.Took.Round(100*time.Microsecond))
	if r.LastRepair.At.IsZero() {
		return s + "; no repair yet"
	}
	return s + "; last repair " + age(r.LastRepair.At, now) + " ago: " + r.LastRepair.What
}

// guards says whom the tunnel is open for, how many pods are guarded, and what
// was dropped.
func guards(g status.Guards) string {
	tunnel := g.Tunnel
	if tunnel == "on" {
		tunnel = fmt.Sprintf("on for %d sources", g.Origins)
	}
	return fmt.Sprintf("tunnel %s, %d packets refused; %d pods, %d packets refused", or(tunnel, "not yet"), g.Refused, g.Pods, g.Sum())
}

// addressUse says how far the addresses of a subnet are used.
func addressUse(a status.Addresses, now time.Time) string {
	u := addresses.Use{Used: a.Used, Total: a.Total}
	text := fmt.Sprintf("%s used in %s", u.Count(), a.Subnet)
	if a.Stale > 0 {
		text += fmt.Sprintf(", %d of them by sandboxes that are gone", a.Stale)
	}
	if !a.FullAt.IsZero() {
		text += ", full in " + addresses.Lasting(max(a.FullAt.Sub(now), 0))
	}
	return text
}

// repairs counts, since the start of the agent, what was undone and mended, in
// lines of which each fits the screen.
func repairs(s status.Status) []string {
	var lines []string
	add := func(text string) {
		if n := len(lines) - 1; n >= 0 && len(lines[n])+len(text) < 86 {
			lines[n] += ", " + text
		} else {
			lines = append(lines, text)
		}
	}
	for _, r := range []status.Repairs{s.Kernel.Repairs, s.Firewall.Repairs, s.Guards.Repairs} {
		for _, e := range r.Entries {
			add(e.String())
		}
	}
	switch n := s.Kernel.Fights + s.Firewall.Fights; n {
	case 0:
	case 1:
		add("in 1 fight with another program")
	default:
		add(fmt.Sprintf("in %d fights with other programs", n))
	}
	return lines
}

func age(from, to time.Time) string {
	d := max(to.Sub(from), 0)
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// indent keeps a text of several lines under its heading.
func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }

func list[T fmt.Stringer](items []T) string {
	texts := make([]string, len(items))
	for i, v := range items {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// printable keeps what other nodes published from driving the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}
