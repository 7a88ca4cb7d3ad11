// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"maps"
	"slices"
	"testing"
)

// lacksSubnets tells the Nodes whose pod CIDRs are needed.
func lacksSubnets(n Node) bool { return n.Annotations["percale.io/subnets"] == "" }

// published is a record of a Node that publishes a subnet; "": none.
func published(name, uid string, version uint64, subnet string) record {
	r := record{Node: Node{Name: name, UID: uid}, version: version}
	if subnet != "" {
		r.Annotations = map[string]string{"percale.io/subnets": subnet}
	}
	return r
}

// shown returns what a snapshot says of each Node: its annotation or pod CIDR.
func (t *table) shown() map[string]string {
	out := make(map[string]string)
	for name, n := range t.snapshot(false).Nodes {
		out[name] = n.Annotations["percale.io/subnets"] + "|" + first(n.PodCIDRs)
	}
	return out
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

func whole(r record, cidrs ...string) map[string]record {
	r.Whole, r.PodCIDRs = true, cidrs
	return map[string]record{r.Name: r}
}

// TestTablePending: a Node whose pod CIDRs are needed is shown as before until
// they are read, once, and again only while there are none.
func TestTablePending(t *testing.T) {
	t.Parallel()
	tab := table{records: make(map[string]record), need: lacksSubnets}
	want := func(step string, shown map[string]string, lacking, all []string) {
		t.Helper()
		if got := tab.shown(); !maps.Equal(got, shown) {
			t.Errorf("%s: shown %v; want %v", step, got, shown)
		}
		if got := tab.lacking(false); !slices.Equal(got, lacking) {
			t.Errorf("%s: lacking since the last change %v; want %v", step, got, lacking)
		}
		if got := tab.lacking(true); !slices.Equal(got, all) {
			t.Errorf("%s: lacking %v; want %v", step, got, all)
		}
	}
	n1 := []string{"n1"}
	tab.set(published("n1", "u", 1, "a"))
	want("published", map[string]string{"n1": "a|"}, nil, nil)
	tab.set(published("n1", "u", 2, ""))
	want("no longer", map[string]string{"n1": "a|"}, n1, n1)
	tab.fill(n1, nil)
	want("not read", map[string]string{"n1": "a|"}, nil, n1)
	tab.set(published("n1", "u", 3, ""))
	want("changed", map[string]string{"n1": "a|"}, n1, n1)
	if !tab.fill(n1, whole(published("n1", "u", 3, ""))) {
		t.Error("that there are no pod CIDRs is no change")
	}
	want("read without", map[string]string{"n1": "|"}, nil, n1)
	tab.set(published("n1", "u", 4, ""))
	tab.fill(n1, whole(published("n1", "u", 4, ""), "c"))
	want("read", map[string]string{"n1": "|c"}, nil, nil)
	if tab.set(published("n1", "u", 5, "")) {
		t.Error("a Node that is the same has changed")
	}
	tab.doubt()
	want("in doubt", map[string]string{"n1": "|c"}, nil, n1)
	tab.replace(listing{records: map[string]record{"n1": published("n1", "u", 2, "")}})
	want("listed anew", map[string]string{"n1": "|c"}, n1, n1)
	tab.set(published("n1", "other", 6, ""))
	want("another Node", map[string]string{}, n1, n1)
	tab.fill(n1, whole(published("n1", "u", 6, ""), "c")) // read of the old one
	want("read too early", map[string]string{}, nil, n1)
	if tab.drop(published("n1", "u", 7, "")) || !tab.drop(published("n1", "other", 7, "")) {
		t.Error("the deletion of the old Node counts, or that of the new one does not")
	}
}
