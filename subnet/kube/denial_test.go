// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
	"github.com/percale-net/percale/subnet/storetest"
)

// denying opens a store whose server says 403 for a while, and 404 then.
func denying(t *testing.T, spell time.Duration) *Store {
	t.Helper()
	start := time.Now()
	s, err := Open(Config{Node: "n7", Client: &rest.Config{Host: "https://192.0.2.1:6443", WrapTransport: func(http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			code := http.StatusNotFound
			if time.Since(start) < spell {
				code = http.StatusForbidden
			}
			return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("")), Header: make(http.Header), Request: r}, nil
		})
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A server that has just started may not know our rights for a moment. That is
// neither told nor an error unless it lasts.
func TestDenial(t *testing.T) {
	t.Parallel()
	for spell, want := range map[time.Duration]string{10 * time.Second: "has no Node n7", time.Hour: "does not allow it"} {
		synctest.Test(t, func(t *testing.T) {
			s := denying(t, spell)
			if _, err := s.Publish(t.Context(), storetest.Lease("n7", 7)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("refused for %v: Publish = %v; want %q", spell, err, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var faults []error
		w := &watch{store: denying(t, time.Hour), suspect: func([]string) {}, fn: func(subnet.Snapshot) {}, fail: func(err error) { faults = append(faults, err) }}
		w.hearPeers(nodes.Snapshot{})
		w.hearOwn(nodes.Own{Exists: true, Node: nodes.Node{Name: "n7", Annotations: map[string]string{keySource: sourceLease}}})
		w.store.contend()
		for range 3 {
			if w.round(t.Context()); len(faults) > 0 {
				t.Errorf("faults %v; want none yet", faults)
			}
			time.Sleep(retry) // of synctest
		}
		if w.round(t.Context()); len(faults) != 1 || !strings.Contains(faults[0].Error(), "does not allow it") {
			t.Errorf("faults %v; want that it is refused", faults)
		}
	})
}
