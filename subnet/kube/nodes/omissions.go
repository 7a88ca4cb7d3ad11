// SPDX-License-Identifier: Apache-2.0

package nodes

// maxOmitted bounds the omissions that are counted.
const maxOmitted = 1000

// Omissions are the names of what a table lacks: what cannot be a Node, and what
// is too many. Each counts once, however often it changes.
type omissions map[string]bool

// add reports whether there is one more.
func (o *omissions) add(name string) bool {
	if (*o)[name] || len(*o) >= maxOmitted {
		return false
	}
	put((*map[string]bool)(o), name, true)
	return true
}

// drop reports whether there is one less.
func (o omissions) drop(name string) bool {
	was := o[name]
	delete(o, name)
	return was
}
