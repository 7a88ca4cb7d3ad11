// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/subnet/kube/nodes"
)

// A desk takes Events in place of an API server.
type desk struct {
	wrong string        // the reason of Events that it calls invalid
	takes time.Duration // for each
	took  []string      // reasons
}

func (d *desk) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(d.takes)
	var e struct{ Reason string }
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return nil, err
	}
	code := http.StatusCreated
	if e.Reason == d.wrong {
		code = http.StatusUnprocessableEntity
	} else {
		d.took = append(d.took, e.Reason)
	}
	return &http.Response{StatusCode: code, Body: http.NoBody, Request: r}, nil
}

func (d *desk) teller(t *testing.T) *Teller {
	t.Helper()
	config := &rest.Config{Host: "http://192.0.2.1", Transport: d}
	teller, err := NewTeller(config, "n1", NewStory(false), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return teller
}

var here = &nodes.Own{Exists: true, Node: nodes.Node{Name: "n1", UID: "u"}}

// An Event that the server calls invalid must not keep all later ones waiting.
func TestWrongEventHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	d := &desk{wrong: "first"}
	facts := Facts{Alarms: []Alarm{{"first", "x"}, {"second", "y"}}}
	if _, err := d.teller(t).Round(t.Context(), here, facts); err != nil {
		t.Errorf("Round = %v", err)
	}
	if want := []string{"second"}; !slices.Equal(d.took, want) {
		t.Errorf("told %q; want %q", d.took, want)
	}
}

// A server that is slow, as when many agents come back to it, makes no round so
// long that it looks stuck; what is left is told by later ones.
func TestSlowServerMakesNoEndlessRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{takes: requestTimeout - time.Second}
		teller := d.teller(t)
		var facts Facts
		for _, reason := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			facts.Alarms = append(facts.Alarms, Alarm{reason, "x"})
		}
		rounds := 0
		for len(d.took) < len(facts.Alarms) && rounds < len(facts.Alarms) {
			began := time.Now()
			if _, err := teller.Round(t.Context(), here, facts); err != nil {
				t.Errorf("Round = %v", err)
			}
			if took := time.Since(began); took > postTime+requestTimeout {
				t.Errorf("the round took %v", took)
			}
			rounds++
		}
		if len(d.took) != len(facts.Alarms) || rounds < 2 {
			t.Errorf("told %q in %d rounds; want all, in several", d.took, rounds)
		}
	})
}
