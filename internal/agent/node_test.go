// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/kubenode"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

func TestNodeFacts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	fault := func(part string) func(*status.Status) {
		return func(s *status.Status) { s.Fault(part, errors.New("seen"), now.Add(-leaseGrace)) }
	}
	for _, tt := range []struct {
		what                  string
		change                func(*status.Status)
		part, trouble, alarms string
	}{
		{"up", func(*status.Status) {}, "", "", ""},
		{"the store went away", fault(partStore), "", "", ""},
		{"no store, and no notes of the last run", func(s *status.Status) { s.Store.Synced = false; fault(partStore)(s) }, partStore, "seen", ""},
		{"no subnet", func(s *status.Status) { s.Subnets = nil; fault(partLease)(s) }, partLease, "seen", ""},
		{"no uplink", fault(partUplink), partUplink, "seen", ""},
		{"starting", func(s *status.Status) { s.Kernel.Count = 0 }, "", "programming the kernel", ""},
		{"one peer that the kernel refuses", func(s *status.Status) { s.Peers.Programmed = 1; fault(partPeers)(s) }, "", "", ""},
		{"its only peer, which may be its fault", func(s *status.Status) { s.Peers = status.PeerCount{Wanted: 1}; fault(partPeers)(s) }, "", "", ""},
		{"all peers", func(s *status.Status) { s.Peers.Programmed = 0; fault(partPeers)(s) }, partPeers, "seen", ""},
		{"a fight", fault(partFight), "", "", "FightWithOtherProgram: seen"},
		{"a fight over rules", fault(partFirewallFight), "", "", "FightWithOtherProgram: seen"},
		{"a lease that cannot be kept", fault(partLease), "", "", "LeaseFails: seen"},
		{"a lease that cannot be kept lately", func(s *status.Status) { s.Fault(partLease, errors.New("seen"), now) }, "", "", ""},
		{"a lease that a store that is away cannot keep", func(s *status.Status) { s.Store.Error = "away"; fault(partLease)(s) }, "", "", ""},
	} {
		s := up()
		tt.change(&s)
		s.Waiting = waiting(s)
		if f := nodeFacts(s, now); f.Part != tt.part || f.Trouble != tt.trouble || alarms(f) != tt.alarms {
			t.Errorf("%s: %+v; want part %q, trouble %q, alarms %q", tt.what, f, tt.part, tt.trouble, tt.alarms)
		}
	}
}

func TestConditionsOf(t *testing.T) {
	t.Parallel()
	own := &nodes.Own{Exists: true, Conditions: []nodes.Condition{
		{Type: "MemoryPressure", Status: "False"},
		{Type: kubenode.PodSubnetExhausted, Status: "False", Reason: "PodSubnetHasRoom"},
		{Type: kubenode.NetworkUnavailable, Status: "True", Reason: "NoSubnet", Message: "of many words"},
	}}
	want := []status.Condition{{Type: kubenode.NetworkUnavailable, Status: "True", Reason: "NoSubnet"},
		{Type: kubenode.PodSubnetExhausted, Status: "False", Reason: "PodSubnetHasRoom"}}
	if got := conditionsOf(own); !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
	if got := conditionsOf(nil); got != nil {
		t.Errorf("of a Node that is not known: %v; want none", got)
	}
}

func alarms(f kubenode.Facts) string {
	var all []string
	for _, a := range f.Alarms {
		all = append(all, a.Reason+": "+a.Text)
	}
	return strings.Join(all, "; ")
}

func TestNodeFactsNameWhoUsesMost(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := up()
	if f := nodeFacts(s, now); f.Usage != nil {
		t.Errorf("Usage = %v before addresses were counted; want none", f.Usage)
	}
	s.Addresses = []status.Addresses{{
		Subnet: netip.MustParsePrefix("10.42.1.0/24"), Used: 210, Total: 253, FullAt: now.Add(2 * time.Hour),
		Users: []status.AddressUser{{Name: "monitoring", Addresses: 120}},
	}}
	f := nodeFacts(s, now)
	if len(f.Usage) != 1 || f.Usage[0].Used != 210 || f.Usage[0].Total != 253 ||
		!strings.Contains(f.Usage[0].Text, "monitoring") || !strings.Contains(f.Usage[0].Text, "210 of 253") || !strings.Contains(f.Usage[0].Text, "full in") {
		t.Errorf("Usage = %+v; want figures, who uses most, and when it is full", f.Usage)
	}
}

// A board on which an API server's answers are pinned: it takes what it is sent.
type pinboard struct {
	mu   sync.Mutex
	sent []string // method, path and body
	code int      // of each answer
}

func (p *pinboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body any
	_ = json.NewDecoder(r.Body).Decode(&body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, fmt.Sprint(r.Method, " ", r.URL.Path, " ", body))
	w.WriteHeader(p.code)
	fmt.Fprint(w, `{"metadata":{"uid":"u"}}`)
}

func (p *pinboard) answer(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code = code
}

// has reports whether it was sent something with all these words.
func (p *pinboard) has(words ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sent {
		all := true
		for _, w := range words {
			all = all && strings.Contains(s, w)
		}
		if all {
			return true
		}
	}
	return false
}

// The loop says nothing before our Node is known, tells what there is then, and
// has the operator know when it cannot.
func TestNodeLoop(t *testing.T) {
	t.Parallel()
	board := &pinboard{code: http.StatusForbidden}
	api := httptest.NewServer(board)
	t.Cleanup(api.Close)
	a := New(config.Settings{
		NodeName: "n1", RunDir: t.TempDir(), KubeSubnetMgr: true, KubeAPIURL: api.URL, SetNodeNetworkUnavailable: true,
	}, "test", slog.New(slog.DiscardHandler))
	runLoop(t, a.tellNode)
	a.getReady()
	if board.has("") {
		t.Error("something was sent before our Node was known")
	}
	a.ownNode(nodes.Own{Node: nodes.Node{Name: "n1", UID: "u"}, Exists: true})
	eventually(t, "the operator knows", func() bool { return strings.Contains(problemOf(a, partNode), "403") })
	if !a.board.Status().Ready {
		t.Error("not ready for want of rights in Kubernetes; want pods to be served")
	}
	board.answer(http.StatusOK)
	eventually(t, "the condition is set", func() bool {
		return board.has("PATCH /api/v1/nodes/n1/status", kubenode.NetworkUnavailable, "False", "PercaleIsUp")
	})
	eventually(t, "an event tells it", func() bool { return board.has("POST /api/v1/namespaces/default/events", "PercaleIsUp") })
	eventually(t, "the problem is gone", func() bool { return problemOf(a, partNode) == "" })
}

func TestNodeLoopIsOffInEtcdMode(t *testing.T) {
	t.Parallel()
	a := New(config.Settings{NodeName: "n1", RunDir: t.TempDir()}, "test", slog.New(slog.DiscardHandler))
	if err := a.tellNode(t.Context()); err != nil {
		t.Errorf("tellNode = %v; want it to end at once", err)
	}
}
