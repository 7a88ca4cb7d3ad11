// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"slices"

	"github.com/percale-net/percale/network/pod"
)

// CheckPod says in words what of AddPod's work is not there, and what more the
// pod may send from.
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
		wrong = append(wrong, t.wrong(have, s.Port)...)
	}
	return wrong, nil
}

// wrong says what t has more than have, and what have has more of a port.
func (t *table) wrong(have *content, port string) []string {
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
		lacks := func(k string) bool { _, ok := have.elements[s.Name][k]; return !ok }
		more := func(k string) bool { _, ok := s.want[k]; return !ok && portOf(k) == port }
		if containsFunc(s.want, lacks) {
			all = append(all, "set "+s.Name+": lacks an element of the pod")
		}
		if containsFunc(have.elements[s.Name], more) {
			all = append(all, "set "+s.Name+": has one that is not the pod's")
		}
	}
	return all
}

func containsFunc(k keys, fn func(string) bool) bool {
	for key := range k {
		if fn(key) {
			return true
		}
	}
	return false
}
