// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"slices"
)

// Drift says in a few words how the rules of a chain differ from those wanted,
// for the log; "" if they do not. Rules are equal iff their texts are.
func Drift(have, want []string) string {
	if slices.Equal(have, want) {
		return ""
	}
	count := make(map[string]int)
	for _, r := range want {
		count[r]++
	}
	missing, foreign := len(want), 0
	for _, r := range have {
		if count[r]--; count[r] >= 0 {
			missing--
		} else {
			foreign++
		}
	}
	switch {
	case missing > 0 && foreign > 0:
		return fmt.Sprintf("%d of %d rules missing, %d not ours", missing, len(want), foreign)
	case missing > 0:
		return fmt.Sprintf("%d of %d rules missing", missing, len(want))
	case foreign == 1:
		return "1 rule not ours"
	case foreign > 1:
		return fmt.Sprintf("%d rules not ours", foreign)
	}
	return "rules out of order"
}
