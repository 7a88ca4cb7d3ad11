// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/http"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
	"github.com/percale-net/percale/subnet/storetest"
)

// A transport answers requests itself.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// The same fault is told once, whatever port our side had, and says nothing new of
// our Node.
func TestSameFault(t *testing.T) {
	t.Parallel()
	port := 40_000
	s, err := Open(Config{Node: "n7", Client: &rest.Config{Host: "https://192.0.2.1:6443", WrapTransport: func(http.RoundTripper) http.RoundTripper {
		return transport(func(*http.Request) (*http.Response, error) {
			port++
			return nil, fmt.Errorf("read tcp 192.0.2.7:%d: no route to host", port)
		})
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var told []subnet.Snapshot
	var faults []error
	w := &watch{store: s, suspect: func([]string) {},
		fn:   func(s subnet.Snapshot) { told = append(told, s) },
		fail: func(err error) { faults = append(faults, err) },
	}
	w.hearPeers(nodes.Snapshot{})
	w.hearOwn(nodes.Own{Exists: true, Node: nodes.Node{Name: "n7", Annotations: map[string]string{keySource: sourceLease}}})
	s.contend()
	for range 3 {
		if again := w.round(t.Context()); again != retry {
			t.Errorf("again in %v; want %v", again, retry)
		}
	}
	if len(told) != 1 || told[0].Own.Assigned.Pending == "" || len(faults) != 1 || port < 40_003 {
		t.Errorf("told %+v and %v after %d requests; want one of each", told, fmt.Sprint(faults), port-40_000)
	}
}

// A lease that we chose is made ours again for the Node that is.
func TestAttestOtherNode(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{Node: "n7", Client: new(rest.Config)})
	if err != nil {
		t.Fatal(err)
	}
	w, l := &watch{store: s}, storetest.Lease("n7", 7)
	own := nodes.Own{Exists: true, Node: nodes.Node{Name: "n7", UID: "1"}}
	for _, step := range []struct {
		holder, source string
		lost, asks     bool
	}{
		{"", sourceLease, false, true}, // Publish runs at the start
		{"1", sourceLease, false, true},
		{"another", sourceLease, true, true},
		{"another", sourceKept, true, true},
		{"another", sourceCluster, false, false},
	} {
		if step.holder != "" {
			s.hold(step.holder)
		}
		own.Annotations = s.keys.encode(l, step.source)
		if lost, again := w.attest(t.Context(), own, l); lost != step.lost || again > 0 != step.asks {
			t.Errorf("%+v: lost %t, again in %v", step, lost, again)
		}
	}
}
