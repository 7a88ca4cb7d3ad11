// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// A gate is a chain of others at the forward hook, as the kernel holds it. What
// it drops is lost, whatever our own chain says: an accept of ours must stand in
// the gate itself.
type gate struct {
	family      tables
	table, name string
	dormant     bool // the table is switched off
	owned       bool // only the running program that made the table may change it
	drop        bool // the policy
	rules       []rule
	beyond      map[string][]rule // chains that its rules lead every packet to
}

// A rule is one of a gate, or of a chain beyond it.
type rule struct {
	handle uint64
	ours   bool
	text   string // what it is and says, for comparing; without what its counters show
	effect
}

// An effect is what a rule does to every packet of a family.
type effect struct {
	family byte // NFPROTO_*; 0: every
	then   fate
	chain  string // of jumps and goes
}

// A fate is what becomes of every packet that meets a rule or a chain.
type fate int

const (
	passes  fate = iota // goes on to the next rule; some packets may be dropped
	decides             // some packets are accepted, or go elsewhere
	accepts
	drops
	returns
	jumps
	goes
)

// blocked and nowhere are spots where a rule that accepts cannot help, and need
// not.
const (
	blocked = -2
	nowhere = -1
)

// concerns reports whether a rule of others may do something to a packet of a
// family.
func (r rule) concerns(proto byte) bool {
	return !r.ours && (r.family == 0 || r.family == proto)
}

// spot says before which rule of the gate a packet must be accepted, so as not
// to be dropped whatever it is; as far back as possible, so that rules of others
// that mean certain packets decide first. The number of rules means the end.
func (g gate) spot(proto byte) int {
	for i, r := range g.rules {
		if !r.concerns(proto) {
			continue
		}
		end, decided := r.then, false
		if end == jumps || end == goes {
			end, decided = g.end(r.chain, proto, maxJumps)
			if end == passes && r.then == goes {
				end = returns // from a chain that was gone to, a packet does not come back
			}
		}
		switch {
		case end == accepts, end == returns && !g.drop:
			return nowhere
		case (end == drops || end == returns) && decided:
			return blocked // before it, ours would keep pods from what that chain decides
		case end == drops, end == returns:
			return i
		}
	}
	if g.drop {
		return len(g.rules)
	}
	return nowhere
}

// maxJumps is how deep the kernel lets chains jump (NFT_JUMP_STACK_SIZE).
const maxJumps = 16

// end says what becomes of the packets that no rule of a chain means in
// particular, and whether there are such that do more than drop.
func (g gate) end(chain string, proto byte, depth int) (end fate, decided bool) {
	if depth == 0 {
		return passes, true
	}
	for _, r := range g.beyond[chain] {
		if !r.concerns(proto) {
			continue
		}
		switch r.then {
		case decides:
			decided = true
		case accepts, drops:
			return r.then, decided
		case returns:
			return passes, decided
		case jumps, goes:
			inner, more := g.end(r.chain, proto, depth-1)
			decided = decided || more
			if inner != passes || r.then == goes {
				return inner, decided
			}
		}
	}
	return passes, decided
}

// An edit is what a gate lacks so as to let pods through.
type edit struct {
	inserts []insert
	deletes []uint64 // handles
	changed []string // what was different, in words
	stuck   bool     // there are packets that no rule of ours helps
}

// An insert puts one of our rules before the one with a handle; 0: at the end.
type insert struct {
	rule   firewall.Rule
	before uint64
}

// edit compares the gate with the rules of ours that it needs. Those that are
// there stay where they are, so long as they come in time.
func (g gate) edit(want []firewall.Rule, mark string) edit {
	var e edit
	kept := make(map[uint64]bool)
	late, total := 0, 0
	for _, w := range want {
		spot := g.spotFor(w)
		e.stuck = e.stuck || spot == blocked
		if spot < 0 {
			continue
		}
		total++
		text := g.text(w, mark)
		at := slices.IndexFunc(g.rules, func(r rule) bool { return r.ours && r.text == text && !kept[r.handle] })
		if at >= 0 && at < spot {
			kept[g.rules[at].handle] = true
			continue
		}
		if at >= 0 {
			late++
		}
		in := insert{rule: w}
		if spot < len(g.rules) {
			in.before = g.rules[spot].handle
		}
		e.inserts = append(e.inserts, in)
	}
	for _, r := range g.rules {
		if r.ours && !kept[r.handle] {
			e.deletes = append(e.deletes, r.handle)
		}
	}
	e.note(g, "%d of %d rules for pods missing", len(e.inserts)-late, total)
	e.note(g, "%d of %d rules for pods behind one that drops", late, total)
	e.note(g, "%d rules for pods not wanted", len(e.deletes)-late)
	return e
}

// spotFor is spot for the packets that a rule of ours is for.
func (g gate) spotFor(r firewall.Rule) int {
	proto := byte(unix.NFPROTO_IPV4)
	if r.Match.Only() == firewall.IPv6 {
		proto = unix.NFPROTO_IPV6
	}
	if g.dormant || !g.family.sees(proto) {
		return nowhere
	}
	return g.spot(proto)
}

// note adds a few words, unless the first number in them is zero.
func (e *edit) note(g gate, format string, numbers ...any) {
	if numbers[0] != 0 {
		e.changed = append(e.changed, g.String()+": "+fmt.Sprintf(format, numbers...))
	}
}

// String returns the words by which a message names the gate.
func (g gate) String() string {
	return fmt.Sprintf("table %s %s, chain %s", g.family.name, g.table, g.name)
}

// letting returns the rules of ours that gates need: those that accept what is
// forwarded from and to networks.
func letting(r firewall.Ruleset) []firewall.Rule {
	var out []firewall.Rule
	for _, c := range r.Chains {
		for _, rule := range c.Rules {
			onlyNets := firewall.Match{Src: rule.Match.Src, Dst: rule.Match.Dst}
			if c.Hook == firewall.Forward && rule.Then == firewall.Accept && rule.Match == onlyNets && rule.Match.Only() != firewall.Any {
				out = append(out, rule)
			}
		}
	}
	return out
}

// markOf returns what the comments of an instance's rules in gates begin with.
// No instance's mark begins with that of another.
func markOf(instance string) string {
	const most = 64 // of the 128 bytes of a comment in nft
	if len(instance) > most {
		instance = fmt.Sprintf("%s-%x", instance[:most-17], sha256.Sum256([]byte(instance)))[:most]
	}
	return instance + ": "
}
