// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
)

// The parts that fights are told of.
const (
	partFight         = "fight"
	partFirewallFight = "firewall fight"
)

// A repair is what one round found undone, of all that an earlier one had left.
type repair struct {
	what   string // was done
	undone []network.Undone
	counts []network.UndoneCount // of all of them
}

// judge tells what of the kernel round's work was a repair, and whether there is
// a fight over it. A change without a new wish is a repair.
func (a *Agent) judge(v view, r *result) {
	var found repair
	sameWish := a.seen.wish == v.wish && reflect.DeepEqual(a.seen.bridge, r.bridge.want)
	if r.err == nil && r.bridgeErr == nil && sameWish && r.changes != "" {
		found.what = r.changes
		found.undone, found.counts = r.first.Undone(r.before, namedByRepair)
	}
	r.tally = a.seen.fight.settle(partFight, mend{at: r.began, who: who(a.kernel, a.seen.round)}, found)
	if found.what != "" && r.tally.fight == nil {
		a.log.Warn("repaired the kernel", "what", found.what, "undone", found.names())
	}
}

// names lists the entries that are named.
func (r repair) names() []string {
	var all []string
	for _, u := range r.undone {
		all = append(all, u.String()+" "+string(u.Cause))
	}
	return all
}

// meddled is what can tell who else changed what is ours, and when.
type meddled interface {
	// LastMeddler returns the name of a process and its number; "" and 0 if they
	// are not known, and a zero time if nobody has.
	LastMeddler() (name string, pid int, at time.Time)
}

// A meddler is a process that changed what is ours; zero if it is not known.
type meddler struct {
	name string // "" if it was gone before it could be asked
	pid  int    // 0 if it is not known
}

func (m meddler) String() string {
	switch {
	case m.pid == 0:
		return m.name
	case m.name == "":
		return fmt.Sprintf("process %d (gone, or of another PID namespace)", m.pid)
	}
	return fmt.Sprintf("process %d (%s)", m.pid, m.name)
}

// who returns the process that meddled since then, if x can tell.
func who(x any, since time.Time) meddler {
	if m, ok := x.(meddled); ok {
		if name, pid, at := m.LastMeddler(); at.After(since) {
			return meddler{name, pid}
		}
	}
	return meddler{}
}

// A tally is how one loop's repairs came out in one round.
type tally struct {
	part   string // of the problem that a fight is
	at     time.Time
	repair repair // zero if there was none
	fight  *status.Fight
	began  bool
}

// settle notes what a round repaired, if anything, and judges the fight.
func (f *fight) settle(part string, m mend, r repair) tally {
	if r.what != "" {
		m.undone = r.undone
		f.note(m)
	}
	t := tally{part: part, at: m.at, repair: r}
	t.fight, t.began = f.judge(m.at)
	return t
}

// report puts t into the status of its loop.
func (t tally) report(s *status.Status, rounds *status.Rounds) {
	if t.repair.what != "" {
		rounds.LastRepair = status.Repair{At: t.at, What: t.repair.what}
		rounds.Repairs.Add(t.repair.counts)
	}
	if t.began {
		rounds.Fights++
	}
	rounds.Fight = t.fight
	var err error
	if t.fight != nil {
		err = fightError(*t.fight)
	}
	s.Fault(t.part, err, t.at)
}

// undoneRules tells from what a renderer says it found of our rules, such as
// "chain forward: missing", what was undone.
func undoneRules(found []string) repair {
	r := repair{what: strings.Join(found, "; ")}
	counts := make(map[network.Cause]int)
	for _, text := range found {
		u := network.Undone{Kind: network.RulesEntry, Cause: network.Changed, Name: text}
		if i := strings.LastIndex(text, ": "); i >= 0 {
			u.Name, u.Found = text[:i], text[i+2:]
		}
		switch u.Found {
		case "missing":
			u.Cause, u.Found = network.Missing, ""
		case "not wanted":
			u.Cause, u.Found = network.Foreign, ""
		}
		counts[u.Cause]++
		r.undone = append(r.undone, u)
	}
	for _, c := range []network.Cause{network.Missing, network.Changed, network.Foreign} {
		if counts[c] > 0 {
			r.counts = append(r.counts, network.UndoneCount{Kind: network.RulesEntry, Cause: c, Count: counts[c]})
		}
	}
	return r
}
