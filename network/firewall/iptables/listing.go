// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"slices"
	"strings"
)

// A listing is all that one family's tables hold.
type listing struct {
	tables map[string]table // by name; tables that nobody used yet are absent
	hidden []string         // tables with rules that the tool cannot show
}

// A table maps each chain to its rules, without "-A <chain> ".
type table map[string][]string

// parse reads what iptables-save prints. Lines that are none of its own are
// left out.
func parse(save string) listing {
	l := listing{tables: make(map[string]table)}
	var t table
	for line := range strings.Lines(save) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "# Table `"):
			// The nf_tables variant: "# Table `nat' is incompatible, use 'nft' tool."
			if name, _, ok := strings.Cut(line[len("# Table `"):], "' is incompatible"); ok {
				l.hidden = append(l.hidden, name)
			}
		case strings.HasPrefix(line, "*"):
			t = make(table)
			l.tables[line[1:]] = t
		case t == nil:
		case line == "COMMIT":
			t = nil
		case strings.HasPrefix(line, ":"):
			chain, _, _ := strings.Cut(line[1:], " ")
			t[chain] = append(t[chain], []string{}...)
		case strings.HasPrefix(line, "-A "):
			chain, rule, _ := strings.Cut(line[len("-A "):], " ")
			t[chain] = append(t[chain], rule)
		}
	}
	return l
}

// verdict returns the target of a rule as it is listed: what stands after -j
// or -g, "" for none.
func verdict(rule string) string {
	w := words(rule)
	for i, s := range w[:max(len(w)-1, 0)] {
		if s == "-j" || s == "-g" {
			return w[i+1]
		}
	}
	return ""
}

// words splits a rule at its blanks. A quoted word, such as a comment, counts
// as one and keeps its quotes.
func words(rule string) []string {
	var out []string
	start, quoted := -1, false
	for i := 0; i < len(rule); i++ {
		switch c := rule[i]; {
		case c == '\\' && quoted:
			i++ // what follows is not the closing quote
		case c == ' ' && !quoted:
			if start >= 0 {
				out = append(out, rule[start:i])
			}
			start = -1
			continue
		case c == '"':
			quoted = !quoted
		}
		if start < 0 {
			start = i
		}
	}
	if start >= 0 {
		out = append(out, rule[start:])
	}
	return out
}

// drops reports whether one of rules ends the packet's way for good.
func drops(rules []string) bool {
	return slices.ContainsFunc(rules, func(r string) bool {
		v := verdict(r)
		return v == "DROP" || v == "REJECT"
	})
}
