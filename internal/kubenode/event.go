// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"fmt"
	"slices"
	"time"
)

// Types of Events.
const (
	normal  = "Normal"
	warning = "Warning"
)

// An Event is something that happened to our node.
type Event struct {
	Type, Reason, Message string
}

// Bounds of what we burden the API server with: so many Events at once, and
// then one in such a time. What comes again within the last time is counted up
// in the Event that there is. (It keeps them for an hour.)
const (
	eventBurst = 10
	eventEvery = time.Minute
	sameEvent  = 30 * time.Minute
	keptEvents = 32
)

// A ledger turns what happens into Events to make, or to count up. It is pure.
type ledger struct {
	budget bucket
	missed map[[2]string]int // of each type and reason, since the last that was not
	sent   []entry           // the newest last
	id     int64             // of the newest entry
}

// An entry is one Event as it is to stand in the API server.
type entry struct {
	Event
	id          int64 // names it there, with the node
	first, last time.Time
	count       int
}

func (e Event) kind() [2]string { return [2]string{e.Type, e.Reason} }

func newLedger() *ledger {
	return &ledger{budget: bucket{burst: eventBurst, every: eventEvery}, missed: make(map[[2]string]int)}
}

// take returns what is to be sent for e, and false if there were too many. Then
// the next of its kind counts it, too.
func (l *ledger) take(e Event, now time.Time) (entry, bool) {
	if !l.budget.take(now) {
		l.missed[e.kind()]++
		return entry{}, false
	}
	l.id = max(l.id+1, now.UnixNano()) // two may come at once
	n := entry{Event: e, id: l.id, first: now, last: now, count: 1 + l.missed[e.kind()]}
	delete(l.missed, e.kind())
	return n, true
}

// recall returns the Event that n only counts up, as it is to be then; false if
// there is none.
func (l *ledger) recall(n entry) (entry, bool) {
	for _, old := range l.sent {
		if old.kind() == n.kind() && n.first.Sub(old.last) < sameEvent {
			n.id, n.first, n.count = old.id, old.first, n.count+old.count
			return n, true
		}
	}
	return n, false
}

// keep notes what was sent.
func (l *ledger) keep(n entry) {
	l.sent = slices.DeleteFunc(l.sent, func(old entry) bool { return old.kind() == n.kind() })
	l.sent = append(l.sent, n)
	l.sent = l.sent[max(0, len(l.sent)-keptEvents):]
}

// name names an Event after the node, as long as that is not too long, and its
// number.
func (n entry) name(node string) string {
	const most = 253 - 1 - 16 // a name in Kubernetes, and what follows here
	return fmt.Sprintf("%s.%016x", node[:min(len(node), most)], n.id)
}

// object is n as Kubernetes has it, about a Node (core/v1, Event). Such Events
// stand in the namespace default.
func (n entry) object(node, uid string) map[string]any {
	return map[string]any{
		"apiVersion":         "v1",
		"kind":               "Event",
		"metadata":           map[string]any{"name": n.name(node), "namespace": eventNamespace},
		"involvedObject":     map[string]any{"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid},
		"type":               n.Type,
		"reason":             n.Reason,
		"message":            n.Message,
		"source":             map[string]any{"component": component, "host": node},
		"reportingComponent": component,
		"reportingInstance":  node,
		"firstTimestamp":     stamp(n.first),
		"lastTimestamp":      stamp(n.last),
		"count":              n.count,
	}
}

// recount is what changes in an Event that comes again.
func (n entry) recount() map[string]any {
	return map[string]any{"message": n.Message, "lastTimestamp": stamp(n.last), "count": n.count}
}

// component is who tells.
const component = "percaled"

const eventNamespace = "default"

// stamp writes a time as Kubernetes does, which knows whole seconds.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
