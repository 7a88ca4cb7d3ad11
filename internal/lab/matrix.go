// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// matrixWidth is how many columns a matrix may take; a wider one is printed in
// parts.
const matrixWidth = 100

// String draws the proof as a matrix, a row for the pod that asks and a column
// for the one that answers, with a legend and the totals below.
func (p Proof) String() string {
	var b strings.Builder
	cell := 2
	for _, from := range p.Pods {
		cell = max(cell, len(from))
		for _, to := range p.Pods {
			cell = max(cell, len(p.text(from, to)))
		}
	}
	per := max(1, (matrixWidth-len("from \\ to")-2)/(cell+2))
	for part := range slices.Chunk(p.Pods, per) {
		p.draw(&b, part, cell)
		b.WriteByte('\n')
	}
	bad := p.Bad()
	for _, c := range bad {
		for i, f := range c.Faults {
			fmt.Fprintf(&b, "%s to %s: %s: %s\n", c.From, c.To, f, c.Why[i])
		}
	}
	if len(bad) > 0 {
		b.WriteByte('\n')
	}
	p.legend(&b, len(bad))
	return b.String()
}

// draw writes the columns of some pods.
func (p Proof) draw(w io.Writer, columns []string, cell int) {
	line := func(head string, at func(to string) string) {
		s := fmt.Sprintf("%-9s", head)
		for _, to := range columns {
			s += fmt.Sprintf("  %-*s", cell, at(to))
		}
		fmt.Fprintln(w, strings.TrimRight(s, " "))
	}
	line("from \\ to", func(to string) string { return to })
	for _, from := range p.Pods {
		line(from, func(to string) string { return p.text(from, to) })
	}
}

// text is what stands in one cell.
func (p Proof) text(from, to string) string {
	c, ok := p.Cells[[2]string{from, to}]
	if !ok {
		return "-"
	}
	if len(c.Faults) == 0 {
		return "ok"
	}
	return strings.Join(c.Faults, ",")
}

func (p Proof) legend(w io.Writer, bad int) {
	fmt.Fprintf(w, "ok   a small UDP packet (udp), one of the full %d bytes that must not be fragmented (df),\n", p.MTU)
	fmt.Fprintf(w, "     and TCP with data (tcp) arrive and come back, from the pod's own address (src)\n")
	fmt.Fprintf(w, "-    the same pod, or pods of two networks\n")
	if p.sixes() {
		fmt.Fprintf(w, "6    behind a fault: over IPv6\n")
	}
	fmt.Fprintf(w, "\n%d pods, %d ways: %d ok, %d with faults.\n", len(p.Pods), len(p.Cells), len(p.Cells)-bad, bad)
}

// sixes reports whether a fault is told by family.
func (p Proof) sixes() bool {
	for _, c := range p.Bad() {
		if slices.ContainsFunc(c.Faults, func(f string) bool { return strings.HasSuffix(f, "6") }) {
			return true
		}
	}
	return false
}
