// SPDX-License-Identifier: Apache-2.0

package nodes

// A history is what the API server's answers have told of its past. Versions
// only grow, and are numbers that can be compared (Kubernetes' API conventions,
// since 1.35; etcd's revisions ever since). So a lower one tells that etcd was
// restored from a backup.
type history struct {
	all    bool   // lists hold every Node, so that one can leave them only by its deletion
	newest uint64 // the highest version that was told; 0: none
	mark   record // the Node that changed last, of which a lower version tells the same
}

// reached takes the version up to which all is known.
func (h *history) reached(version uint64) { h.newest = max(h.newest, version) }

// changed takes a Node's newest version.
func (h *history) changed(r record) {
	h.mark = record{Node: Node{Name: r.Name, UID: r.UID}, version: r.version}
	h.reached(r.version)
}

// listed takes a whole list.
func (h *history) listed(l listing) {
	h.reached(l.version)
	for _, r := range l.records {
		if r.version > h.mark.version {
			h.changed(r)
		}
	}
}

// recalls reports whether what a list says, which is not older than the newest
// that was told, can be of the history that told of the records before. It is of
// another one if it is older all the same, if it holds a Node in an older version
// than before, or if it holds none of several Nodes that were there: then it is
// of another cluster.
func (h *history) recalls(before map[string]record, now listing) bool {
	if now.version != 0 && now.version < h.newest {
		return false
	}
	if r, there := now.records[h.mark.Name]; there && r.UID == h.mark.UID && r.version != 0 && r.version < h.mark.version {
		return false
	}
	kept := 0
	for name, old := range before {
		r, there := now.records[name]
		if !there || r.UID != old.UID {
			continue
		}
		kept++
		if r.version != 0 && r.version < old.version {
			return false
		}
	}
	return kept > 0 || len(before) < 2 || !h.all
}
