// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/subnet/kube/nodes"
)

// maxPending bounds the Events that wait for an API server which is away. The
// oldest go first: what stands at the Node tells more by then.
const maxPending = 20

// postTime is how long a round may send Events before it leaves the others to
// the next one: with a server that is slow, but there, a round of all of them
// would look as if it hung.
const postTime = 30 * time.Second

// A Teller tells Kubernetes what a Story decides. It is not safe for concurrent
// use.
type Teller struct {
	api     *api
	node    string
	log     *slog.Logger
	story   *Story
	events  *ledger
	pending []entry
}

// NewTeller returns a Teller of the node of that name. It connects to nothing.
func NewTeller(c *rest.Config, node string, story *Story, log *slog.Logger) (*Teller, error) {
	a, err := newAPI(c)
	if err != nil {
		return nil, err
	}
	return &Teller{api: a, node: node, log: log, story: story, events: newLedger()}, nil
}

// Round tells what is to be told now, by our Node as it was read last and by the
// facts, and says when to look again even if nothing changes; 0 is never. An
// error is an API server that is away or refuses us; what was not told is told
// by the next round.
func (t *Teller) Round(ctx context.Context, own *nodes.Own, f Facts) (again time.Duration, err error) {
	now := time.Now()
	step := t.story.Next(own, f, now)
	for _, e := range step.Events {
		n, ok := t.events.take(e, now)
		if !ok {
			t.log.Debug("event left out: there are too many", "reason", e.Reason, "message", e.Message)
			continue
		}
		t.pending = append(t.pending, n)
	}
	t.pending = t.pending[max(0, len(t.pending)-maxPending):]
	var errs []error
	for _, c := range step.Changes {
		if err := t.patch(ctx, c, now); err != nil {
			errs = append(errs, err)
			continue
		}
		t.story.Wrote(c, now)
		t.log.Info("node condition set", "condition", c.Want.Type, "status", c.Want.Status, "reason", c.Want.Reason,
			"was", c.Was.Status, "wasReason", c.Was.Reason)
	}
	if own.Exists {
		errs = append(errs, t.post(ctx, own.UID))
	}
	return step.Again, errors.Join(errs...)
}

// patch writes one condition. A Node that is gone meanwhile is no error: its
// watch tells.
func (t *Teller) patch(ctx context.Context, c Change, now time.Time) error {
	condition := map[string]any{
		"type": c.Want.Type, "status": c.Want.Status, "reason": c.Want.Reason, "message": c.Want.Message,
		"lastHeartbeatTime": stamp(now),
	}
	if c.moved() {
		condition["lastTransitionTime"] = stamp(now)
	}
	_, err := t.api.do(ctx, request{
		verb: http.MethodPatch, path: []string{"api", "v1", "nodes", t.node, "status"},
		kind: "application/strategic-merge-patch+json", brief: true,
		body: map[string]any{"status": map[string]any{"conditions": []any{condition}}},
	})
	if err != nil && !is(err, http.StatusNotFound) {
		return fmt.Errorf("set the condition %s of node %s: %w", c.Want.Type, t.node, err)
	}
	return nil
}

// post sends the Events that wait, in their order, until one cannot be sent. One
// that the server calls wrong, as it would each time, is left out.
func (t *Teller) post(ctx context.Context, uid string) error {
	for began := time.Now(); len(t.pending) > 0 && time.Since(began) < postTime; t.pending = t.pending[1:] {
		n, err := t.send(ctx, t.pending[0], uid)
		switch {
		case isWrong(err):
			t.log.Warn("event left out: the API server does not take it", "reason", n.Reason, "message", n.Message, "err", err)
		case err != nil:
			return fmt.Errorf("tell an Event of node %s: %w", t.node, err)
		default:
			t.events.keep(n)
		}
	}
	return nil
}

// isWrong reports whether err says that the request itself is not acceptable.
func isWrong(err error) bool {
	return is(err, http.StatusBadRequest) || is(err, http.StatusRequestEntityTooLarge) || is(err, http.StatusUnprocessableEntity)
}

// send makes an Event, or counts up the one that there is, and returns it as it
// stands then.
func (t *Teller) send(ctx context.Context, n entry, uid string) (entry, error) {
	events := []string{"api", "v1", "namespaces", eventNamespace, "events"}
	if more, ok := t.events.recall(n); ok {
		_, err := t.api.do(ctx, request{
			verb: http.MethodPatch, path: append(slices.Clip(events), more.name(t.node)), kind: "application/merge-patch+json",
			brief: true, body: more.recount(),
		})
		if !is(err, http.StatusNotFound) { // which is one that was too old, or deleted
			return more, err
		}
	}
	_, err := t.api.do(ctx, request{
		verb: http.MethodPost, path: events, kind: "application/json", brief: true, body: n.object(t.node, uid),
	})
	if is(err, http.StatusConflict) { // it was made, and the answer was lost
		err = nil
	}
	return n, err
}

// Look reads our Node once, for who has no news of it from a watch.
func (t *Teller) Look(ctx context.Context) (nodes.Own, error) {
	b, err := t.api.do(ctx, request{verb: http.MethodGet, path: []string{"api", "v1", "nodes", t.node}})
	if is(err, http.StatusNotFound) {
		return nodes.Own{}, nil
	}
	if err != nil {
		return nodes.Own{}, fmt.Errorf("read node %s: %w", t.node, err)
	}
	var n struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
		Status struct {
			Conditions []nodes.Condition `json:"conditions"` // whose fields have the same names, but for case
		} `json:"status"`
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return nodes.Own{}, fmt.Errorf("read node %s: %w", t.node, err)
	}
	return nodes.Own{Node: nodes.Node{Name: t.node, UID: n.Metadata.UID}, Exists: true, Conditions: n.Status.Conditions}, nil
}
