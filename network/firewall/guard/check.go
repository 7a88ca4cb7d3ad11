// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"slices"

	"github.com/percale-net/percale/network/pod"
)

// CheckPod says in words what of AddPod's work is not there. What is there more
// is none of its business: DEL leaves elements to the agent, and a pod that is
// added again under its old name finds them.
func CheckPod(s pod.Sender) ([]string, error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("look up guard of pod: %w", err)
	}
	defer c.CloseLasting()
	var wrong []string
	for _, t := range newPods([]pod.Sender{s}).tables() {
		have, err := t.read(c)
		if err != nil {
			return nil, fmt.Errorf("look up guard of pod: %w", err)
		}
		wrong = append(wrong, t.wrong(have)...)
	}
	return wrong, nil
}

// wrong says what t has more than have.
func (t *table) wrong(have *content) []string {
	if have == nil {
		return []string{"table: missing"}
	}
	if why := t.unlike(have); why != "" {
		return []string{why}
	}
	var all []string
	for _, ch := range t.chains {
		want, err := ch.marks(t.Family)
		if err != nil || !slices.Equal(have.rules[ch.Name], want) {
			all = append(all, "chain "+ch.Name+": changed or missing")
		}
	}
	for _, s := range t.sets {
		for k := range s.want {
			if _, ok := have.elements[s.Name][k]; !ok {
				all = append(all, "set "+s.Name+": lacks an element of the pod")
				break
			}
		}
	}
	return all
}
