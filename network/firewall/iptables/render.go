// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/percale-net/percale/network/firewall"
)

// A mark is what the names of our chains begin with; a rule elsewhere is ours if
// it jumps to one.
type mark string

// maxMark leaves room for our longest name of a chain, in the 28 bytes that
// iptables allows.
const maxMark = 28 - len("POSTRTG")

// markOf returns the mark of an agent: PERCALE- for "percale". A long name is
// cut, and told apart from others by a hash.
func markOf(instance string) mark {
	m := strings.ToUpper(instance) + "-"
	if len(m) > maxMark {
		sum := sha256.Sum256([]byte(instance))
		m = fmt.Sprintf("%s%X-", m[:maxMark-7], sum[:3])
	}
	return mark(m)
}

// owns reports whether a chain or target bears the mark, and no longer one.
func (m mark) owns(chain string) bool {
	rest, ok := strings.CutPrefix(chain, string(m))
	return ok && !strings.Contains(rest, "-")
}

// A place is a chain of ours as it must be, and the jump that leads to it.
type place struct {
	table, chain string
	from         string   // built-in chain that jumps here
	first        bool     // the jump must come before others drop the packet
	rules        []string // as they are written, without "-A <chain> "
	shows        []string // as they are listed, where that is known to be different
}

// wanted returns our chains for one family, as iptables-save lists them.
func (m mark) wanted(r firewall.Ruleset, f firewall.Family) []place {
	var out []place
	for _, c := range r.Chains {
		p := m.home(c.Hook)
		used := false // a chain with rules for the other family alone would do nothing
		for _, rule := range c.Rules {
			if only := rule.Match.Only(); only == firewall.Any || only == f {
				p.rules = append(p.rules, spec(rule))
				used = used || only == f
			}
		}
		if used {
			out = append(out, p)
		}
	}
	return out
}

func (m mark) home(h firewall.Hook) place {
	switch h {
	case firewall.Prerouting:
		return place{table: "raw", chain: string(m) + "PRE", from: "PREROUTING"}
	case firewall.Output:
		return place{table: "raw", chain: string(m) + "OUT", from: "OUTPUT"}
	case firewall.Forward:
		return place{table: "filter", chain: string(m) + "FWD", from: "FORWARD", first: true}
	case firewall.Postrouting:
		return place{table: "nat", chain: string(m) + "POSTRTG", from: "POSTROUTING"}
	}
	panic("iptables: no such hook: " + h.String())
}

// jump returns the rule that leads to p, without "-A <chain> ".
func (p place) jump() string { return "-m comment --comment percale -j " + p.chain }

// shown returns p's rules as they are listed.
func (p place) shown() []string {
	if p.shows != nil {
		return p.shows
	}
	return p.rules
}

// spec writes a rule as iptables-save does, so that both can be compared.
func spec(r firewall.Rule) string {
	var s []string
	for _, n := range [...]struct {
		flag string
		net  firewall.Net
	}{{"-s", r.Match.Src}, {"-d", r.Match.Dst}} {
		if !n.net.Prefix.IsValid() {
			continue
		}
		if n.net.Not {
			s = append(s, "!")
		}
		s = append(s, n.flag, n.net.Prefix.String())
	}
	if p := r.Match.UDPPort; p != 0 {
		s = append(s, fmt.Sprintf("-p udp -m udp --dport %d", p))
	}
	if m := r.Match.Mark; m != (firewall.Mark{}) {
		s = append(s, fmt.Sprintf("-m mark --mark %#x/%#x", m.Value, m.Mask))
	}
	s = append(s, fmt.Sprintf("-m comment --comment %q", r.Why), "-j", target(r))
	return strings.Join(s, " ")
}

func target(r firewall.Rule) string {
	switch r.Then {
	case firewall.Pass:
		return "RETURN"
	case firewall.Accept:
		return "ACCEPT"
	case firewall.Untrack:
		return "CT --notrack"
	case firewall.Masquerade:
		if r.Random {
			return "MASQUERADE --random-fully"
		}
		return "MASQUERADE"
	}
	panic("iptables: no such verdict: " + r.Then.String())
}
