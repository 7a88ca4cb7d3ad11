// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is kept of one Node, and of how many Nodes. What other nodes
// publish is hostile input; what Kubernetes allows is 256 KB of annotations.
const (
	maxNodes      = 100_000
	maxName       = 253 // as Kubernetes has it, in bytes
	maxUID        = 64
	maxKey        = 320 // a name of 63 bytes below a domain of 253
	maxValue      = 4 << 10
	maxValues     = 16 << 10 // of all annotations of one Node, in bytes
	maxKept       = 64       // annotations of one Node
	maxOversize   = 16       // annotations of one Node whose size is kept
	maxCIDRs      = 4        // two are allowed; more are kept so that they can be refused
	maxCIDR       = 64
	maxConditions = 64
	maxText       = 1 << 10 // of a condition, in bytes
)

// A record is a Node and what else is known of it.
type record struct {
	Node
	version    uint64 // the object's resourceVersion; 0: it is no number
	conditions []Condition
	labelled   bool // it bears the trimmer's label

	pending bool   // its pod CIDRs are needed, and were never read
	before  *Node  // what to pass on while it is pending; nil: nothing
	tried   uint64 // the version at which its pod CIDRs were asked for last
}

// A trimmer makes records of objects. It is for one goroutine.
type trimmer struct {
	wanted func(key string) bool // nil: none
	whole  bool                  // the objects are whole Nodes
	record bool                  // they stand for Nodes
	label  string                // to look for; "": none
	keys   map[string]string     // those kept, so that all records share them
}

// trim copies what is wanted. It reports false for an object that cannot be a
// Node, such as one with a name that is none; of that it returns the name alone.
func (t *trimmer) trim(o *object) (record, bool) {
	if t.record && !o.asNode() || !isName(o.name) || len(o.uid) > maxUID {
		return record{Node: Node{Name: strings.TrimPrefix(cut(o.name, maxName), recordPrefix)}}, false
	}
	r := record{Node: Node{Name: string(o.name), UID: string(o.uid), Whole: t.whole, Record: t.record}}
	r.version, _ = strconv.ParseUint(string(o.version), 10, 64)
	t.annotate(&r.Node, o.annotations)
	r.labelled = t.label != "" && slices.ContainsFunc(o.labels, func(p pair) bool { return string(p.key) == t.label })
	if t.whole {
		r.PodCIDRs = cidrsOf(o)
		r.conditions = conditionsOf(o)
	}
	return r, true
}

// annotate copies the annotations that are wanted, as far as they fit.
func (t *trimmer) annotate(n *Node, all []pair) {
	if t.wanted == nil {
		return
	}
	wanted := slices.DeleteFunc(all, func(p pair) bool {
		return len(p.key) > maxKey || !t.wanted(string(p.key))
	})
	// By key, so that the same ones are kept whatever order they came in.
	slices.SortStableFunc(wanted, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	room := maxValues
	for _, p := range wanted {
		switch {
		case len(p.value) <= min(maxValue, room) && len(n.Annotations) < maxKept:
			if n.Annotations == nil {
				n.Annotations = make(map[string]string, min(len(wanted), maxKept))
			}
			n.Annotations[t.shared(p.key)] = string(p.value)
			room -= len(p.value)
		case len(n.Oversize) < maxOversize:
			if n.Oversize == nil {
				n.Oversize = make(map[string]int)
			}
			n.Oversize[t.shared(p.key)] = len(p.value)
		}
	}
}

// shared returns key as a text that other records have, too.
func (t *trimmer) shared(key []byte) string {
	if s, ok := t.keys[string(key)]; ok {
		return s
	}
	s := string(key)
	if t.keys == nil {
		t.keys = make(map[string]string)
	}
	if len(t.keys) < 4*maxKept { // more are not what nodes have in common
		t.keys[s] = s
	}
	return s
}

func cidrsOf(o *object) (out []string) {
	all := o.cidrs
	if len(all) == 0 && len(o.cidr) > 0 {
		all = [][]byte{o.cidr}
	}
	for _, c := range all[:min(len(all), maxCIDRs)] {
		out = append(out, cut(c, maxCIDR))
	}
	return out
}

func conditionsOf(o *object) (out []Condition) {
	for _, c := range o.conditions {
		out = append(out, Condition{
			Type: cut(c.typ, maxText), Status: cut(c.status, maxText),
			Reason: cut(c.reason, maxText), Message: cut(c.message, maxText),
		})
	}
	return out
}

// cut returns a text of at most n bytes, in valid UTF-8.
func cut(b []byte, n int) string {
	return strings.ToValidUTF8(string(b[:min(len(b), n)]), "")
}

// isName reports whether b can be a Node's name: a DNS subdomain. Nothing that
// could be a path, or change a terminal, is one.
func isName(b []byte) bool {
	return len(b) > 0 && len(b) <= maxName && b[0] != '.' && !slices.ContainsFunc(b, func(c byte) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.'
	})
}
