// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Ruleset is all that a node's packet filter must hold of ours. The zero
// Ruleset wants nothing. Two rulesets are the same iff their Strings are.
type Ruleset struct {
	Chains []Chain // at most one per hook, in order of hook; none is empty
}

// A Chain lists the rules of one hook. The first rule that matches a packet
// decides it; a packet that none matches passes.
type Chain struct {
	Hook  Hook
	Rules []Rule
}

// A Hook is a point on a packet's way through the kernel.
type Hook int

// The hooks, in the order in which a packet meets them.
const (
	Prerouting  Hook = iota // what arrives, before connection tracking
	Output                  // what this node sends, before connection tracking
	Forward                 // what neither comes from nor goes to this node itself
	Postrouting             // what leaves, where its source address may be changed
)

// String returns the hook's usual name.
func (h Hook) String() string {
	return [...]string{"prerouting", "output", "forward", "postrouting"}[h]
}

// A Rule decides the packets that match it.
type Rule struct {
	Match  Match
	Then   Verdict
	Random bool   // Masquerade picks source ports at random ("random-fully"), where the kernel can
	Why    string // a few plain words for who lists the rules; at most 100 bytes, no quotes
}

// A Match says which packets a rule is for: those that fulfil each of its
// conditions. The zero Match is for all.
type Match struct {
	Family   Family // Any where Src or Dst say it already
	Src, Dst Net
	Mark     Mark
	UDPPort  uint16 // destination port; 0: of any protocol
}

// A Family is an address family, or Any.
type Family int

// The families.
const (
	Any  Family = 0
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of an address; Any for the zero Addr.
func FamilyOf(a netip.Addr) Family {
	switch {
	case !a.IsValid():
		return Any
	case a.Is4():
		return IPv4
	}
	return IPv6
}

// A Net matches addresses in Prefix, or, with Not, those of the same family
// that are outside of it. The zero Net matches every address.
type Net struct {
	Prefix netip.Prefix // masked
	Not    bool
}

// A Mark matches packets whose mark has, of the bits in Mask, exactly those in
// Value. The zero Mark matches every packet.
type Mark struct{ Value, Mask uint32 }

// A Verdict is what becomes of a packet at one hook.
type Verdict int

// The verdicts.
const (
	Pass       Verdict = iota // we leave it as it is; others may decide
	Accept                    // it may go on; a rule of others that was asked before may have dropped it
	Masquerade                // it leaves under the node's own address
	Untrack                   // it goes on without connection tracking
)

// String returns the verdict in one word.
func (v Verdict) String() string {
	return [...]string{"pass", "accept", "masquerade", "untrack"}[v]
}

// Only returns the family that every packet matching m is of; Any if packets of
// both match.
func (m Match) Only() Family {
	for _, n := range [...]Net{m.Src, m.Dst} {
		if f := FamilyOf(n.Prefix.Addr()); f != Any {
			return f
		}
	}
	return m.Family
}

// Families returns the families that r has rules for, IPv4 first. A rule for
// Any counts for none.
func (r Ruleset) Families() []Family {
	var fs []Family
	for _, c := range r.Chains {
		for _, rule := range c.Rules {
			if f := rule.Match.Only(); f != Any && !slices.Contains(fs, f) {
				fs = append(fs, f)
			}
		}
	}
	slices.Sort(fs)
	return fs
}

// IsEmpty reports whether r wants nothing.
func (r Ruleset) IsEmpty() bool { return len(r.Chains) == 0 }

// WithoutRandom returns r with ports picked as the kernel does it by default,
// for kernels and tools that cannot pick them at random.
func (r Ruleset) WithoutRandom() Ruleset {
	var out Ruleset
	for _, c := range r.Chains {
		c.Rules = slices.Clone(c.Rules)
		for i := range c.Rules {
			c.Rules[i].Random = false
		}
		out.Chains = append(out.Chains, c)
	}
	return out
}

// String returns one line per rule, in the order in which packets meet them.
func (r Ruleset) String() string {
	var b strings.Builder
	for _, c := range r.Chains {
		fmt.Fprintf(&b, "%v:\n", c.Hook)
		for _, rule := range c.Rules {
			fmt.Fprintf(&b, "  %v\n", rule)
		}
	}
	return b.String()
}

// String returns the rule as one line.
func (r Rule) String() string {
	s := r.Match.String() + " -> " + r.Then.String()
	if r.Random {
		s += ", random ports"
	}
	return s + "  # " + r.Why
}

// String returns the conditions, or "all".
func (m Match) String() string {
	var s []string
	if m.Family != Any {
		s = append(s, fmt.Sprintf("ipv%d", m.Family))
	}
	if m.Mark != (Mark{}) {
		s = append(s, fmt.Sprintf("mark %#x/%#x", m.Mark.Value, m.Mark.Mask))
	}
	for _, n := range [...]struct {
		name string
		net  Net
	}{{"from", m.Src}, {"to", m.Dst}} {
		if n.net == (Net{}) {
			continue
		}
		not := ""
		if n.net.Not {
			not = "not "
		}
		s = append(s, n.name+" "+not+n.net.Prefix.String())
	}
	if m.UDPPort != 0 {
		s = append(s, fmt.Sprintf("udp port %d", m.UDPPort))
	}
	if s == nil {
		return "all"
	}
	return strings.Join(s, " ")
}
