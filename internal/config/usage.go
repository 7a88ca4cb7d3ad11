// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// Usage returns the help text of percaled: every flag in groups, at most 100
// columns wide.
func Usage() string {
	s := defaults()
	all := options(&s)
	var b strings.Builder
	b.WriteString("percaled leases this node a pod subnet and keeps the way to its peers in the kernel.\n\n")
	b.WriteString("Usage: percaled [--flag=value ...]\n\n")
	b.WriteString("A flag that is not given is read from PERCALED_<FLAG>, then FLANNELD_<FLAG>, as in\n")
	b.WriteString("PERCALED_ETCD_ENDPOINTS. The default stands in brackets.\n")
	group := ""
	for _, o := range all {
		if o.group != group {
			group = o.group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		name := "--" + o.name
		if o.arg != "" {
			name += "=" + o.arg
		}
		cells := strings.Fields(o.help)
		if d := o.show(); d != "" && d != "false" {
			cells = append(cells, "["+d+"]")
		}
		row(&b, name, cells)
	}
	return b.String()
}

// row writes a name and, from a column of its own, words wrapped at the width.
func row(b *strings.Builder, name string, words []string) {
	const column, width = 35, 100
	line := "  " + name
	if len(line) >= column && len(words) > 0 {
		b.WriteString(line + "\n")
		line = ""
	}
	for i, w := range words {
		if i > 0 && len(line)+1+len(w) > width {
			b.WriteString(line + "\n")
			line = ""
		}
		line += strings.Repeat(" ", max(1, column-len(line))) + w
	}
	b.WriteString(line + "\n")
}
