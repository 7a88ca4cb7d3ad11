// SPDX-License-Identifier: Apache-2.0

package network

import "fmt"

// An EntryKind is a class of what we keep. It is stable: it stands in JSON.
type EntryKind string

// The kinds of entry. Rules are a firewall's, and no part of a State.
const (
	LinkEntry     EntryKind = "link"
	AddressEntry  EntryKind = "address"
	SysctlEntry   EntryKind = "sysctl"
	RouteEntry    EntryKind = "route"
	NeighborEntry EntryKind = "neighbor"
	ForwardEntry  EntryKind = "fdb"
	RulesEntry    EntryKind = "rules"
)

// Word returns what an operator calls one of k, or several.
func (k EntryKind) Word(n int) string {
	switch {
	case k == ForwardEntry && n == 1:
		return "FDB entry"
	case k == ForwardEntry:
		return "FDB entries"
	case k == RulesEntry && n == 1:
		return "firewall part"
	case k == RulesEntry:
		return "firewall parts"
	case n == 1:
		return string(k)
	case k == AddressEntry:
		return "addresses"
	}
	return string(k) + "s"
}

// A Cause says how an entry was found undone. It is stable: it stands in JSON.
type Cause string

// The causes.
const (
	Missing Cause = "missing" // it was deleted
	Changed Cause = "changed" // it has another value
	Foreign Cause = "foreign" // it was added, and should not be there
)

// An Undone is one entry that was not as it had been left.
type Undone struct {
	Kind  EntryKind
	Cause Cause
	Name  string // without the kind: "10.244.2.0/24"
	Found string // what is there instead, as ip shows it; "" for nothing
}

// String names the entry: "route 10.244.2.0/24".
func (u Undone) String() string {
	if u.Kind == RulesEntry {
		return "firewall " + u.Name
	}
	return u.Kind.Word(1) + " " + u.Name
}

// An UndoneCount says how many entries of a kind were undone in one way.
type UndoneCount struct {
	Kind  EntryKind
	Cause Cause
	Count int
}

// String says it in words: "12 routes missing".
func (u UndoneCount) String() string {
	return fmt.Sprintf("%d %s %s", u.Count, u.Kind.Word(u.Count), u.Cause)
}

// Undone says what somebody undid of a State that have was, given that c turns
// have back into it. All are counted; of each kind and cause the first most
// are named, since a node may have thousands of peers.
func (c Changes) Undone(have State, most int) ([]Undone, []UndoneCount) {
	d := describer{have: have, most: most}
	describe(&d, LinkEntry, c.SetLinks, d.link)
	describe(&d, AddressEntry, c.SetAddresses, d.address)
	describe(&d, AddressEntry, c.DelAddresses, foreign(nameAddress, nothing))
	describe(&d, SysctlEntry, c.SetSysctls, d.sysctl)
	describe(&d, RouteEntry, c.SetRoutes, d.route)
	describe(&d, RouteEntry, c.DelRoutes, foreign(nameRoute, Route.way))
	describe(&d, NeighborEntry, c.SetNeighbors, d.neighbor)
	describe(&d, NeighborEntry, c.DelNeighbors, foreign(nameNeighbor, foundNeighbor))
	describe(&d, ForwardEntry, c.SetForwards, d.forward)
	describe(&d, ForwardEntry, c.DelForwards, foreign(nameForward, foundForward))
	return d.undone, d.counts
}

// A describer gathers what was undone.
type describer struct {
	have   State
	most   int
	undone []Undone
	counts []UndoneCount
}

// describe adds entries of one kind. what tells the cause of one and, in words
// that are made only if they are needed, the rest.
func describe[E any](d *describer, kind EntryKind, entries []E, what func(E) (Cause, func() (name, found string))) {
	var causes []UndoneCount
	for _, e := range entries {
		cause, words := what(e)
		i := 0
		for i < len(causes) && causes[i].Cause != cause {
			i++
		}
		if i == len(causes) {
			causes = append(causes, UndoneCount{Kind: kind, Cause: cause})
		}
		if causes[i].Count++; causes[i].Count <= d.most {
			name, found := words()
			d.undone = append(d.undone, Undone{kind, cause, name, found})
		}
	}
	d.counts = append(d.counts, causes...)
}

// differs returns Changed with what was found, or Missing.
func differs[E any](entry, found E, ok bool, name, value func(E) string) (Cause, func() (string, string)) {
	if !ok {
		return Missing, func() (string, string) { return name(entry), "" }
	}
	return Changed, func() (string, string) { return name(entry), value(found) }
}

func foreign[E any](name, value func(E) string) func(E) (Cause, func() (string, string)) {
	return func(e E) (Cause, func() (string, string)) {
		return Foreign, func() (string, string) { return name(e), value(e) }
	}
}

func (d *describer) link(l Link) (Cause, func() (string, string)) {
	have, ok := d.have.Links[l.Name]
	return differs(l, have, ok, nameLink, l.foundInstead)
}

func (d *describer) address(a Address) (Cause, func() (string, string)) {
	return differs(a, Address{}, false, nameAddress, nothing)
}

func (d *describer) sysctl(s Sysctl) (Cause, func() (string, string)) {
	have, ok := d.have.Sysctls[s.Path]
	return differs(s, have, ok, nameSysctl, foundSysctl)
}

// route looks among the routes of others too: they may stand in its place.
func (d *describer) route(r Route) (Cause, func() (string, string)) {
	have, ok := d.have.Routes[r.Key()]
	if !ok {
		have, ok = d.have.Others[r.Key()]
	}
	return differs(r, have, ok, nameRoute, Route.way)
}

func (d *describer) neighbor(n Neighbor) (Cause, func() (string, string)) {
	have, ok := d.have.Neighbors[n.Key()]
	return differs(n, have, ok, nameNeighbor, foundNeighbor)
}

func (d *describer) forward(f Forward) (Cause, func() (string, string)) {
	have, ok := d.have.Forwards[f.Key()]
	return differs(f, have, ok, nameForward, foundForward)
}
