// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/percale-net/percale/network"
)

// mostShadows bounds how many routes of others are named.
const mostShadows = 5

// shadowNotes names routes of others that win over ours.
func shadowNotes(r result) []string {
	if r.err != nil {
		return nil
	}
	var notes []string
	shadows := network.Shadows(r.have, r.plan.State)
	for _, f := range shadows[:min(len(shadows), mostShadows)] {
		what, ip := f.Dst.String(), "ip"
		if f.Dst.Addr().Is6() {
			ip = "ip -6"
		}
		if f.Via.IsValid() {
			what += " via " + f.Via.String()
		}
		if f.Link != "" {
			what += " dev " + f.Link
		}
		what += fmt.Sprintf(" proto %d metric %d", f.Protocol, f.Metric)
		notes = append(notes, fmt.Sprintf("route %s is not ours and wins over ours, wherever it leads: %s route del %s", what, ip, what))
	}
	if more := len(shadows) - len(notes); more > 0 {
		notes = append(notes, fmt.Sprintf("%d more routes of others win over ours", more))
	}
	return notes
}
