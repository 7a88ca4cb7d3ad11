// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
)

// So many repairs in so short a time, of anything or of one entry, mean that
// another program undoes our work each time that it is done. The latter is for
// large nodes, where a round takes long.
const (
	fightRepairs = 20
	fightSame    = 10
	fightWindow  = 10 * time.Second
)

// Of many entries only so many are named: by a repair of each kind and cause,
// and by a fight.
const (
	namedByRepair = 4
	namedByFight  = 8
)

// A mend is what one round repaired.
type mend struct {
	at     time.Time
	undone []network.Undone // the first few
	who    meddler          // undid it, as far as is known
}

// A fight remembers what was repaired lately. While it is on, rounds count as
// failed, so that the loop slows down.
type fight struct {
	mends []mend // within the window
	since time.Time
	told  error // what the loop was told first; it logs each change
}

// note remembers a repair.
func (f *fight) note(m mend) { f.mends = append(f.mends, m) }

// judge says whether a fight is on, and whether it began just now. Repairs that
// are too long ago are forgotten.
func (f *fight) judge(now time.Time) (on *status.Fight, began bool) {
	f.mends = slices.DeleteFunc(f.mends, func(m mend) bool { return now.Sub(m.at) > fightWindow })
	entries := contested(f.mends)
	if len(f.mends) < fightRepairs && (len(entries) == 0 || entries[0].Times < fightSame) {
		f.since, f.told = time.Time{}, nil
		return nil, false
	}
	if f.since.IsZero() {
		f.since, began = now, true
	}
	on = &status.Fight{Since: f.since, Entries: entries[:min(len(entries), namedByFight)], Who: lastMeddler(f.mends).String()}
	if began {
		f.told = fightError(*on)
	}
	return on, began
}

// lastMeddler returns the last one that has a name, or else the last one.
func lastMeddler(mends []mend) (last meddler) {
	for _, m := range mends {
		if m.who.name != "" || last.name == "" && m.who != (meddler{}) {
			last = m.who
		}
	}
	return last
}

// contested counts how often each entry was undone, the most often first.
func contested(mends []mend) []status.Contested {
	type key struct {
		kind network.EntryKind
		name string
	}
	var all []status.Contested
	at := make(map[key]int)
	for _, m := range mends {
		counted := make(map[key]bool, len(m.undone))
		for _, u := range m.undone {
			k := key{u.Kind, u.Name}
			i, ok := at[k]
			if !ok {
				i = len(all)
				at[k] = i
				all = append(all, status.Contested{Kind: u.Kind, Name: u.Name})
			}
			if !counted[k] {
				all[i].Times++
			}
			counted[k] = true
			all[i].Cause, all[i].Found = u.Cause, u.Found
		}
	}
	slices.SortStableFunc(all, func(a, b status.Contested) int { return b.Times - a.Times })
	return all
}

// fightError tells an operator of a fight: what is undone, by whom, what comes
// of it and what helps.
func fightError(f status.Fight) error {
	if len(f.Entries) == 0 {
		return errors.New("another program undoes again and again what we write")
	}
	e := f.Entries[0]
	text := fmt.Sprintf("%s was undone %d times in %v", network.Undone{Kind: e.Kind, Name: e.Name}, e.Times, fightWindow)
	if n := len(f.Entries) - 1; n > 0 {
		text = fmt.Sprintf("%s, and %d or more other entries", text, n)
	}
	text += ", last found: " + cmp.Or(e.Found, string(e.Cause))
	if f.Who != "" {
		text += "; last changed by " + f.Who
	}
	return errors.New(text + ". Packets are lost until each repair, and repairs are made less often while this goes on. " + remedy(e))
}

// remedy says what helps against a program that undoes e, and how to see it.
func remedy(e status.Contested) string {
	const apart = "Stop that program from touching it, or give this agent its own VNI and network; see each change with "
	switch e.Kind {
	case network.SysctlEntry:
		return "Stop that program from setting it; see what may with: grep -rs " +
			e.Name[strings.LastIndexByte(e.Name, '/')+1:] + " /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d"
	case network.RulesEntry:
		return "Stop that program from removing rules that are not its own; see each change with \"nft monitor\", in iptables mode with \"xtables-monitor -e\""
	case network.ForwardEntry:
		return apart + "\"bridge monitor fdb\""
	case network.NeighborEntry:
		return apart + "\"ip monitor neigh\""
	}
	return apart + "\"ip monitor " + string(e.Kind) + "\""
}
