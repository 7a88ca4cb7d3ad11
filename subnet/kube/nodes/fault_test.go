// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/subnet/kube/nodes/nodestest"
)

// followNodes watches the Nodes that cfg leads to; change adjusts the watcher.
func followNodes(t *testing.T, cfg *rest.Config, change func(*Watcher)) *nodestest.Follower[Snapshot] {
	t.Helper()
	w, err := New(Config{Client: cfg, Wanted: wanted})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(w)
	}
	return nodestest.Follow(t, w.Run)
}

// subnetsOf returns what a snapshot says under the annotation of the tests.
func subnetsOf(s Snapshot, name string) string {
	return s.Nodes[name].Annotations["percale.io/subnets"]
}

// TestExpired: versions that the server has forgotten cost a new list, and are
// no fault; nothing between is missed.
func TestExpired(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.put("n1", "percale.io/subnets", "a")
	l.put("n2", "percale.io/subnets", "b")
	f := followNodes(t, l.cfg, nil)
	f.Await(t, "first snapshot", func(s Snapshot) bool { return len(s.Nodes) == 2 })
	l.become(func() { l.say = func(http.ResponseWriter, *http.Request) bool { return true } }) // watches end
	f.AwaitFault(t, "fault", nodestest.Ill)
	l.put("n1", "percale.io/subnets", "c")
	l.drop("n2")
	l.become(func() { l.say, l.floor = nil, l.version })
	got := f.Await(t, "what was missed", func(s Snapshot) bool { return len(s.Nodes) == 1 && subnetsOf(s, "n1") == "c" })
	if got.Rewound {
		t.Error("the snapshot is said to be of another history")
	}
	f.AwaitFault(t, "end of the fault", nodestest.Well)
}

// TestRewound: a server whose etcd was restored is believed, and its snapshot
// says so, whether its versions end earlier, or only its Nodes' do.
func TestRewound(t *testing.T) {
	t.Parallel()
	for name, restore := range map[string]func(l *liar){
		"version":  func(l *liar) { l.version = 50 },
		"bumped":   func(l *liar) { l.version, l.floor = 1000, 1000 },
		"replaced": func(l *liar) { l.version, l.floor = 1000, 1000; l.nodes["n1"].UID, l.nodes["n2"].UID = "x", "y" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLiar(t)
			old := l.put("n1", "percale.io/subnets", "old").DeepCopy()
			l.put("n2", "percale.io/subnets", "b")
			l.put("n1", "percale.io/subnets", "new")
			f := followNodes(t, l.cfg, nil)
			f.Await(t, "first snapshot", func(s Snapshot) bool { return subnetsOf(s, "n1") == "new" && !s.Rewound })
			l.become(func() {
				l.nodes["n1"], l.log = old, nil
				restore(l)
				l.say = func(http.ResponseWriter, *http.Request) bool { return true }
			})
			f.AwaitFault(t, "fault", nodestest.Ill)
			l.become(func() { l.say = nil })
			f.Await(t, "what was restored", func(s Snapshot) bool { return subnetsOf(s, "n1") == "old" && s.Rewound && len(s.Nodes) == 2 })
			f.AwaitFault(t, "end of the fault", nodestest.Well)
			l.put("n2", "percale.io/subnets", "c")
			f.Await(t, "what came since", func(s Snapshot) bool { return subnetsOf(s, "n2") == "c" && !s.Rewound })
		})
	}
}

// TestSilence: a watch that says nothing is given up, checked and begun anew,
// without a fault when the server answers, and with one when it does not.
func TestSilence(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.put("n1", "percale.io/subnets", "a")
	hang := func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}
	f := followNodes(t, l.cfg, func(w *Watcher) {
		w.feed.client.answer, w.feed.client.quiet = 500*time.Millisecond, 200*time.Millisecond
	})
	f.Await(t, "first snapshot", func(s Snapshot) bool { return len(s.Nodes) == 1 })
	l.become(func() { l.say = hang })
	f.AwaitFault(t, "fault", func(err error) bool {
		return nodestest.Ill(err) && strings.Contains(err.Error(), "does not answer within")
	})
	l.become(func() { l.say = nil })
	l.put("n1", "percale.io/subnets", "b")
	f.Await(t, "what was missed", func(s Snapshot) bool { return subnetsOf(s, "n1") == "b" })
}

// TestHalfList: a list that breaks off is no snapshot, and is told.
func TestHalfList(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.put("n1", "percale.io/subnets", "a")
	whole := encode(t, listOf(false, "101", "", aNode("n1", "101"), aNode("n2", "101")))
	l.say = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", binaryType)
		w.Write(whole[:len(whole)-60])
		return true
	}
	f := followNodes(t, l.cfg, nil)
	f.AwaitFault(t, "fault", func(err error) bool { return nodestest.Ill(err) && strings.Contains(err.Error(), "unexpected EOF") })
	if n := len(f.Told()); n != 0 {
		t.Errorf("%d snapshots of half a list", n)
	}
	l.become(func() { l.say = nil })
	f.Await(t, "first snapshot", func(s Snapshot) bool { return len(s.Nodes) == 1 })
	f.AwaitFault(t, "end of the fault", nodestest.Well)
}

// TestPages: a list in several answers is one.
func TestPages(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.version = 300
	pages := map[string][]byte{
		"":     encode(t, listOf(false, "300", "more", aNode("n1", "101"))),
		"more": encode(t, listOf(false, "300", "last", aNode("n2", "102"))),
		"last": encode(t, listOf(false, "300", "", aNode("n3", "103"))),
	}
	l.say = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("watch") {
			return false
		}
		w.Header().Set("Content-Type", binaryType)
		w.Write(pages[r.URL.Query().Get("continue")])
		return true
	}
	f := followNodes(t, l.cfg, nil)
	f.Await(t, "first snapshot", func(s Snapshot) bool { return len(s.Nodes) == 3 })
}

// TestRefusals: what the server says against us is told with what helps.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		code int
		want string
	}{
		{http.StatusUnauthorized, "does not accept our token"},
		{http.StatusTooManyRequests, "is overloaded"},
		{http.StatusNotFound, "does not answer as one"},
		{http.StatusInternalServerError, "refused: x"},
	} {
		l := newLiar(t)
		l.say = func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, row.code, "x", "")
			return true
		}
		f := followNodes(t, l.cfg, nil)
		f.AwaitFault(t, "fault", func(err error) bool { return nodestest.Ill(err) && strings.Contains(err.Error(), row.want) })
		l.become(func() { l.say = nil })
		f.AwaitFault(t, "end of the fault", nodestest.Well)
		f.Await(t, "first snapshot", func(s Snapshot) bool { return len(s.Nodes) == 0 })
	}
}

// TestNoServer: what is no API server is told so, and its page is not quoted
// for longer than helps.
func TestNoServer(t *testing.T) {
	t.Parallel()
	l := newLiar(t)
	l.say = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<html>" + strings.Repeat("x", 1<<20)))
		return true
	}
	f := followNodes(t, l.cfg, nil)
	f.AwaitFault(t, "fault", func(err error) bool {
		return nodestest.Ill(err) && strings.Contains(err.Error(), "does --kube-api-url") && len(err.Error()) < 500
	})
}
