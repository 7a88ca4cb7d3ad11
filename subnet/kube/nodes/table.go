// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"maps"
	"slices"
)

// A table is all that is known of the Nodes. Nothing that its methods return is
// changed later.
type table struct {
	records map[string]record
	omitted omissions
	need    func(Node) bool // Config.NeedWhole; nil: never
}

// set takes what the server says of one Node, and reports whether a snapshot
// has changed.
func (t *table) set(r record) bool {
	old, known := t.records[r.Name]
	if !known && len(t.records) >= maxNodes {
		return t.omitted.add(r.Name)
	}
	counted := t.omitted.drop(r.Name)
	r = t.heir(old, r)
	if known && r.sameAs(old) {
		old.version, old.tried = r.version, r.tried // and what the old one holds in memory
		t.records[r.Name] = old
		return counted
	}
	t.records[r.Name] = r
	return true
}

// heir returns r with what is known of its Node from before. A Node's pod CIDRs
// never change once they are set.
func (t *table) heir(old, r record) record {
	same := old.Name != "" && old.UID == r.UID
	if same && !r.Whole {
		r.PodCIDRs, r.Whole, r.tried = old.PodCIDRs, old.Whole, old.tried
	}
	r.pending = t.need != nil && !r.Whole && t.need(r.Node)
	if r.pending && same {
		r.before = old.visible()
	}
	return r
}

// visible returns what a snapshot holds of a record; nil: nothing.
func (r record) visible() *Node {
	if r.pending {
		return r.before
	}
	return &r.Node
}

// doubt forgets what a new list would not tell anew: versions, and pod CIDRs,
// which another history may have assigned in another way. Snapshots hold the old
// ones until they are read again.
func (t *table) doubt() {
	for name, r := range t.records {
		if r.Whole && t.need != nil && t.need(r.Node) {
			r.before, r.pending = r.visible(), true
		}
		if t.need != nil {
			r.Whole, r.PodCIDRs = false, nil
		}
		r.version, r.tried = 0, 0
		t.records[name] = r
	}
}

// sameAs reports whether both look the same in a snapshot.
func (r record) sameAs(old record) bool {
	return r.UID == old.UID && r.Whole == old.Whole && r.Record == old.Record && r.labelled == old.labelled && r.pending == old.pending &&
		maps.Equal(r.Annotations, old.Annotations) && maps.Equal(r.Oversize, old.Oversize) &&
		slices.Equal(r.PodCIDRs, old.PodCIDRs) && slices.Equal(r.conditions, old.conditions)
}

// drop forgets a Node that was deleted, unless another one bears its name.
func (t *table) drop(r record) bool {
	old, known := t.records[r.Name]
	if !known || old.UID != r.UID {
		return t.omitted.drop(r.Name)
	}
	delete(t.records, r.Name)
	return true
}

// replace takes a whole list, and reports whether a snapshot has changed.
func (t *table) replace(l listing) bool {
	changed := len(l.records) != len(t.records) || len(l.omitted) != len(t.omitted)
	for name, r := range l.records {
		old, known := t.records[name]
		r = t.heir(old, r)
		if known && r.sameAs(old) {
			old.version, old.tried = r.version, r.tried
			r = old
		} else {
			changed = true
		}
		l.records[name] = r
	}
	t.records, t.omitted = l.records, l.omitted
	return changed
}

// lacking returns the Nodes whose pod CIDRs are needed and not known: those that
// have changed since they were asked for, or all. Pod CIDRs may be assigned later.
func (t *table) lacking(all bool) (names []string) {
	if t.need == nil {
		return nil
	}
	for name, r := range t.records {
		if len(r.PodCIDRs) == 0 && (all || r.tried < r.version) && t.need(r.Node) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fill takes what was read of whole Nodes, of those that were lacking, and
// reports whether a snapshot has changed.
func (t *table) fill(names []string, read map[string]record) bool {
	changed := false
	for _, name := range names {
		r := t.records[name]
		r.tried = r.version
		if w, ok := read[name]; ok && w.UID == r.UID {
			changed = changed || !r.Whole || !slices.Equal(r.PodCIDRs, w.PodCIDRs)
			r.PodCIDRs, r.Whole, r.pending, r.before = w.PodCIDRs, true, false, nil
		}
		t.records[name] = r
	}
	return changed
}

// snapshot returns all that is known now.
func (t *table) snapshot(rewound bool) Snapshot {
	out := make(map[string]Node, len(t.records))
	for name, r := range t.records {
		if n := r.visible(); n != nil {
			out[name] = *n
		}
	}
	return Snapshot{Nodes: out, Omitted: len(t.omitted), Rewound: rewound}
}
