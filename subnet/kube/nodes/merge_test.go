// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A merging is a merger and what it told, under test.
type merging struct {
	merger
	told   []Snapshot
	faults []error
}

func newMerging() *merging {
	m := new(merging)
	m.parts, m.due = make([]part, 2), time.NewTimer(linger)
	m.fn = func(s Snapshot) { m.told = append(m.told, s) }
	m.fail = func(err error) { m.faults = append(m.faults, err) }
	return m
}

// nodesOf makes Nodes of "name=annotation".
func nodesOf(texts ...string) map[string]Node {
	all := make(map[string]Node)
	for _, text := range texts {
		name, says, _ := strings.Cut(text, "=")
		all[name] = Node{Name: name, UID: "u", Annotations: map[string]string{"k": says}}
	}
	return all
}

// want wants the newest snapshot to hold just these.
func (m *merging) want(t *testing.T, what string, texts ...string) {
	t.Helper()
	var got []string
	for name, n := range m.told[len(m.told)-1].Nodes {
		got = append(got, name+"="+n.Annotations["k"])
	}
	if slices.Sort(got); !slices.Equal(got, texts) {
		t.Errorf("%s: told %q; want %q", what, got, texts)
	}
}

// TestMerge: nothing is told before all is known, a Node that is watched itself
// counts before its record, and each fault is told once.
func TestMerge(t *testing.T) {
	t.Parallel()
	m := newMerging()
	m.tell(0, Snapshot{Nodes: nodesOf("n1=node"), Rewound: true, Omitted: 1})
	if len(m.told) != 0 {
		t.Error("a half was told")
	}
	m.tell(1, Snapshot{Nodes: nodesOf("n2=record"), Omitted: 2})
	m.want(t, "both", "n1=node", "n2=record")
	m.tell(1, Snapshot{Nodes: nodesOf("n1=record", "n2=record")})
	m.want(t, "a Node and its record", "n1=node", "n2=record")
	if len(m.told) != 2 || !m.told[0].Rewound || m.told[1].Rewound || m.told[0].Omitted != 3 || len(m.told[1].Records) != 2 {
		t.Errorf("told %+v", m.told)
	}
	a, b := errors.New("a"), errors.New("b")
	for _, f := range []struct {
		feed int
		err  error
	}{{1, b}, {0, a}, {0, a}, {1, nil}, {1, b}, {0, nil}, {1, nil}} {
		m.failed(f.feed, f.err)
	}
	if want := []error{b, a, b, nil}; !slices.Equal(m.faults, want) {
		t.Errorf("faults %v; want %v", m.faults, want)
	}
}

// TestMergeLingers: in whatever order the label and the record are told of, the
// node stays; one that is gone goes later, and only while both feeds are well.
func TestMergeLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMerging()
		m.tell(0, Snapshot{Nodes: nodesOf("n1=a", "n2=a")})
		m.tell(1, Snapshot{})
		m.tell(0, Snapshot{Nodes: nodesOf("n2=a")})
		m.want(t, "labelled before the record is seen", "n1=a", "n2=a")
		time.Sleep(linger / 2) // of synctest
		m.tell(1, Snapshot{Nodes: nodesOf("n1=b")})
		m.want(t, "record", "n1=b", "n2=a")
		m.tell(0, Snapshot{})
		m.want(t, "gone", "n1=b", "n2=a")
		m.failed(1, errors.New("away"))
		<-m.due.C
		m.release()
		m.want(t, "gone while a feed is ill", "n1=b", "n2=a")
		m.failed(1, nil)
		<-m.due.C
		m.release()
		m.want(t, "gone for long", "n1=b")
		told := len(m.told)
		m.release()
		if len(m.told) != told {
			t.Error("nothing to let go, and something is told")
		}
		m.tell(1, Snapshot{Rewound: true})
		m.want(t, "another history")
	})
}

// TestDoubts is about looks at labelled Nodes, n0 being one without the label.
// Nodes that are gone by then linger.
func TestDoubts(t *testing.T) {
	t.Parallel()
	other := nodesOf("n1=r")
	other["n1"] = Node{Name: "n1", UID: "another", Annotations: map[string]string{"k": "r"}}
	type step struct {
		records, seen map[string]Node
		names         []string // looked at; nil: all
		want          string
		doubted       string
	}
	same, differs := nodesOf("n1=r", "n2=r"), nodesOf("n1=x", "n2=r")
	for name, steps := range map[string][]step{
		"they agree":      {{records: same, seen: same, want: "n0=w n1=r n2=r"}},
		"on its way":      {{records: same, seen: differs, want: "n0=w n1=r n2=r", doubted: "n1"}, {records: same, seen: same, want: "n0=w n1=r n2=r"}},
		"twice, and back": {{records: same, seen: differs, want: "n0=w n1=r n2=r", doubted: "n1"}, {records: same, seen: nodesOf("n1=y"), names: []string{"n1"}, want: "n0=w n1=y n2=r", doubted: "n1"}, {records: same, seen: nodesOf("n1=z"), names: []string{"n1"}, want: "n0=w n1=z n2=r", doubted: "n1"}, {records: same, seen: same, want: "n0=w n1=r n2=r"}},
		"another Node":    {{records: same, seen: other, names: []string{"n1"}, want: "n0=w n1=r n2=r", doubted: "n1"}, {records: same, seen: other, names: []string{"n1"}, want: "n0=w n1=r n2=r", doubted: "n1"}},
		"no such Node":    {{records: same, seen: nodesOf("n2=r"), want: "n0=w n1=r n2=r", doubted: "n1"}, {records: same, names: []string{"n1"}, want: "n0=w n1=r n2=r", doubted: "n1"}},
		"no record":       {{records: nodesOf("n2=r"), seen: differs, want: "n0=w n1=x n2=r", doubted: "n1"}, {records: same, seen: differs, want: "n0=w n1=r n2=r", doubted: "n1"}},
		"nor a Node then": {{records: nodesOf("n2=r"), seen: differs, want: "n0=w n1=x n2=r", doubted: "n1"}, {records: nodesOf("n2=r"), seen: nodesOf("n2=r"), want: "n0=w n1=x n2=r"}},
		"seen itself":     {{records: nodesOf("n0=r", "n1=r", "n2=r"), seen: same, want: "n0=w n1=r n2=r"}},
	} {
		m := newMerging()
		m.tell(0, Snapshot{Nodes: nodesOf("n0=w")})
		for i, s := range steps {
			m.tell(1, Snapshot{Nodes: s.records})
			m.looked(s.seen, s.names)
			m.want(t, fmt.Sprint(name, ", look ", i+1), strings.Fields(s.want)...)
			if got := strings.Join(m.suspects(), " "); got != s.doubted {
				t.Errorf("%s, look %d: doubts about %q; want %q", name, i+1, got, s.doubted)
			}
		}
	}
	m := newMerging()
	m.tell(0, Snapshot{})
	m.tell(1, Snapshot{Nodes: same})
	m.looked(differs, nil)
	m.looked(differs, nil)
	m.tell(0, Snapshot{Nodes: nodesOf("n1=w")})
	m.want(t, "seen without the label", "n1=w", "n2=r")
	m.tell(0, Snapshot{})
	m.want(t, "labelled again", "n1=r", "n2=r")
}

// TestSuspect: of records that contradict others one look is enough, and no more
// are looked at for that than it takes.
func TestSuspect(t *testing.T) {
	t.Parallel()
	m := newMerging()
	m.tell(0, Snapshot{})
	m.tell(1, Snapshot{Nodes: nodesOf("n1=r", "n2=r")})
	want := func(what string, names, fresh []string) {
		t.Helper()
		if got := m.suspect(names); !slices.Equal(got, fresh) {
			t.Errorf("%s: to be looked at: %q; want %q", what, got, fresh)
		}
	}
	all := []string{"n1", "n2", "n3"}
	want("news", all, all[:2])
	m.looked(nodesOf("n1=x", "n2=r"), all[:2])
	m.want(t, "one look", "n1=x", "n2=r")
	want("the same", all, nil)
	m.tell(1, Snapshot{Nodes: nodesOf("n1=r", "n2=s")})
	want("another record", all, all[1:2])
	var many []string
	for i := range 2*maxSingle + 1 {
		many = append(many, fmt.Sprintf("m%02d=r", i))
	}
	m.tell(1, Snapshot{Nodes: nodesOf(many...)})
	names := slices.Sorted(maps.Keys(nodesOf(many...)))
	want("many", names, names[:maxSingle])
	want("the next", names, names[maxSingle:2*maxSingle])
	want("the rest", names, names[2*maxSingle:])
	if n := len(m.clashed); n != len(names) {
		t.Errorf("%d records are remembered; want those that are there, %d", n, len(names))
	}
}
