// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/percale-net/percale/network/firewall"
)

// A script collects what turns one table into what it must be. As one
// transaction of iptables-restore, packets meet all of it or nothing.
type script struct {
	chains  []string // chains to create, or to empty
	deletes []string // jumps
	adds    []string // jumps and rules
	drops   []string // chains
	changed []string // what was different, in words
}

// plan compares one table with our chains in it; wants are of that table.
func (m mark) plan(name string, have table, wants []place) script {
	var s script
	for _, p := range wants {
		s.fix(have, p)
	}
	// What is ours and not wanted: jumps from wherever, then chains.
	for _, from := range slices.Sorted(maps.Keys(have)) {
		for _, rule := range have[from] {
			if to := verdict(rule); !m.owns(from) && m.owns(to) && !slices.ContainsFunc(wants, func(p place) bool {
				return p.from == from && p.chain == to
			}) {
				s.deletes = append(s.deletes, "-D "+from+" "+rule)
				s.note("jump from " + from + " to " + to + " not wanted")
			}
		}
	}
	for _, chain := range slices.Sorted(maps.Keys(have)) {
		if m.owns(chain) && !slices.ContainsFunc(wants, func(p place) bool { return p.chain == chain }) {
			s.drops = append(s.drops, chain)
			s.note("chain " + chain + " not wanted")
		}
	}
	for i, c := range s.changed {
		s.changed[i] = "table " + name + ": " + c
	}
	return s
}

func (s *script) note(what string) { s.changed = append(s.changed, what) }

// fix adds what p and its jump lack.
func (s *script) fix(have table, p place) {
	rules, ok := have[p.chain]
	drift := firewall.Drift(rules, p.shown())
	if !ok {
		drift = "missing"
	}
	if drift != "" {
		s.note("chain " + p.chain + ": " + drift)
		s.chains = append(s.chains, p.chain)
		for _, r := range p.rules {
			s.adds = append(s.adds, "-A "+p.chain+" "+r)
		}
	}
	var jumps []string
	at := -1
	for i, r := range have[p.from] {
		if verdict(r) == p.chain {
			jumps, at = append(jumps, r), i
		}
	}
	wrong := ""
	switch {
	case len(jumps) == 0:
		wrong = "missing"
	case len(jumps) > 1:
		wrong = fmt.Sprintf("is there %d times", len(jumps))
	case jumps[0] != p.jump():
		wrong = "has other conditions"
	case p.first && drops(have[p.from][:at]):
		wrong = "comes after a DROP or REJECT"
	default:
		return
	}
	s.note("jump from " + p.from + " to " + p.chain + " " + wrong)
	for _, r := range jumps {
		s.deletes = append(s.deletes, "-D "+p.from+" "+r)
	}
	if p.first {
		s.adds = append(s.adds, "-I "+p.from+" 1 "+p.jump())
	} else {
		s.adds = append(s.adds, "-A "+p.from+" "+p.jump())
	}
}

// text returns s as input of iptables-restore --noflush; "" if there is nothing
// to do. A chain that it declares is created, or emptied.
func (s script) text(table string) string {
	if len(s.changed) == 0 {
		return ""
	}
	lines := []string{"*" + table}
	for _, c := range s.chains {
		lines = append(lines, ":"+c+" - [0:0]")
	}
	lines = append(lines, s.deletes...)
	lines = append(lines, s.adds...)
	for _, c := range s.drops { // all are emptied before the first goes: one may jump to another
		lines = append(lines, "-F "+c)
	}
	for _, c := range s.drops {
		lines = append(lines, "-X "+c)
	}
	return strings.Join(append(lines, "COMMIT"), "\n") + "\n"
}
