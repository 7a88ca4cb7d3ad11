// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"maps"
	"slices"
)

// The doubts of a watcher are about records that do not say what their Nodes say.
// The Nodes are right: a node may run another agent by now that knows of no
// records, and who may change what of a Node is better guarded.
type doubts struct {
	differed map[string]bool // the record differed when its Node was looked at last
	instead  map[string]Node // so twice: what counts in its place; a zero Node where there is none
	clashed  map[string]Node // records that contradicted others, as they were when that was found
	lone     map[string]Node // Nodes that bear the label, and had no record when they were looked at
}

// A sight is what is known of all Nodes.
type sight struct {
	watched map[string]Node // those without the label
	records map[string]Node
	seen    map[string]Node // those with the label, at a look
}

// look takes what the labelled Nodes say: all of them, or those that are named. It
// reports whether something else counts than before. One look is not enough
// against a record, since an agent writes that first and its Node then.
func (d *doubts) look(s sight, names []string) (changed bool) {
	if names == nil {
		every := make(map[string]bool)
		for _, part := range []map[string]Node{s.seen, s.records, d.lone} {
			for name := range part {
				every[name] = true
			}
		}
		names = slices.Collect(maps.Keys(every))
	}
	for _, name := range names {
		changed = d.lookAt(s, name) || changed
	}
	return changed
}

// lookAt is look for one Node.
func (d *doubts) lookAt(s sight, name string) (changed bool) {
	n, there := s.seen[name]
	record, has := s.records[name]
	before, was := d.instead[name]
	alone, wasLone := d.lone[name]
	if _, watched := s.watched[name]; watched {
		return false
	}
	switch {
	case !has && there:
		put(&d.lone, name, n)
		d.drop(name)
		return !wasLone || !alone.says(n)
	case !has || n.says(record):
		d.drop(name)
		delete(d.lone, name)
		return was || wasLone && !has
	case !d.differed[name]:
		put(&d.differed, name, true)
		return false
	}
	delete(d.lone, name)
	put(&d.instead, name, n)
	return !was || !before.says(n)
}

// suspect takes Nodes whose records contradict those of others. It returns those
// to look at now, of which one look is enough: the few first ones of which this
// is news.
func (d *doubts) suspect(records map[string]Node, names []string) (fresh []string) {
	maps.DeleteFunc(d.clashed, func(name string, _ Node) bool { _, there := records[name]; return !there })
	for _, name := range names {
		record, has := records[name]
		if old, was := d.clashed[name]; !has || was && old.says(record) {
			continue
		}
		put(&d.clashed, name, record)
		put(&d.differed, name, true)
		if fresh = append(fresh, name); len(fresh) == maxSingle {
			break
		}
	}
	return fresh
}

func (d *doubts) drop(name string) {
	delete(d.differed, name)
	delete(d.instead, name)
}

// settle ends the doubts about Nodes that are watched themselves.
func (d *doubts) settle(watched map[string]Node) {
	for _, name := range d.names() {
		if _, there := watched[name]; there {
			d.drop(name)
			delete(d.lone, name)
		}
	}
}

// names returns the Nodes that there are doubts about, in order.
func (d *doubts) names() []string {
	all := make(map[string]bool, len(d.differed)+len(d.lone))
	maps.Copy(all, d.differed)
	for name := range d.lone {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// says reports whether both are of one Node and say the same.
func (n Node) says(other Node) bool {
	return n.UID == other.UID && maps.Equal(n.Annotations, other.Annotations) && maps.Equal(n.Oversize, other.Oversize) &&
		slices.Equal(n.PodCIDRs, other.PodCIDRs)
}

func put[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = v
}
