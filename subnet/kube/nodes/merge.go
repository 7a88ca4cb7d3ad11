// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// linger is how long a Node is kept that is seen no more where records are in
// use: it may be on its way from the one list to the other, and the API server
// tells of the two in no certain order.
const linger = 10 * time.Second

// A merger makes one of what two feeds tell, of Nodes and of records. Its methods
// may be called concurrently.
type merger struct {
	fn   func(Snapshot)
	fail func(error)

	mu    sync.Mutex // held while fn and fail run
	parts []part     // of the Nodes; and of the records, if there are any
	fault string     // what fail was called with last; "": nothing, or nil

	// Where there are records:
	told   map[string]Node      // what fn was called with last
	gone   map[string]time.Time // which of these are kept though no feed has them, and since when
	due    *time.Timer          // fires when they may go
	doubts                      // of records
}

// A part is what one feed told last.
type part struct {
	Snapshot
	known bool
	err   error
}

// tell takes a snapshot of a feed, and passes on the whole once all are known.
func (m *merger) tell(feed int, s Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Rewound = s.Rewound || m.parts[feed].Rewound // until it has been told
	m.parts[feed].Snapshot, m.parts[feed].known = s, true
	m.passLocked(false)
}

// passLocked passes the whole on, once it is known; release lets go what has been
// gone for long enough.
func (m *merger) passLocked(release bool) {
	whole := Snapshot{Nodes: m.parts[0].Nodes}
	for _, p := range m.parts {
		if !p.known {
			return
		}
		whole.Omitted += p.Omitted
		whole.Rewound = whole.Rewound || p.Rewound
	}
	if len(m.parts) > 1 {
		whole.Records = m.parts[1].Nodes
		m.doubts.settle(m.parts[0].Nodes)
		whole.Nodes = m.doubts.merge(m.parts[0].Nodes, whole.Records)
		m.keepLocked(whole, release)
		m.told = whole.Nodes
	}
	for i := range m.parts {
		m.parts[i].Rewound = false
	}
	m.fn(whole)
}

// keepLocked adds to a snapshot what has left it just now. What another history
// lacks is not on its way anywhere.
func (m *merger) keepLocked(whole Snapshot, release bool) {
	gone := make(map[string]time.Time)
	for name, n := range m.told {
		if _, there := whole.Nodes[name]; there || whole.Rewound {
			continue
		}
		since, known := m.gone[name]
		if !known {
			since = time.Now()
		}
		if !release || time.Since(since) < linger || m.ailingLocked() {
			whole.Nodes[name], gone[name] = n, since
		}
	}
	if len(gone) > 0 && (release || len(m.gone) == 0) {
		m.due.Reset(linger)
	}
	m.gone = gone
}

// ailingLocked reports whether a feed may lack what the API server knows.
func (m *merger) ailingLocked() bool {
	for _, p := range m.parts {
		if p.err != nil {
			return true
		}
	}
	return false
}

// goneCount returns how many Nodes are kept that no feed has.
func (m *merger) goneCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.gone)
}

// release lets go what has been gone for long enough.
func (m *merger) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.gone) > 0 {
		m.passLocked(true)
	}
}

// looked takes what a look has found of the Nodes that have records: of all, or
// of those that are named. It passes on what that changes.
func (m *merger) looked(seen map[string]Node, names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.parts[0].known || !m.parts[1].known {
		return
	}
	m.doubts.settle(m.parts[0].Nodes)
	if m.doubts.look(sight{m.parts[0].Nodes, m.parts[1].Nodes, seen}, names) {
		m.passLocked(false)
	}
}

// suspects names the Nodes whose records are in doubt.
func (m *merger) suspects() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doubts.names()
}

// suspect returns which of the Nodes to look at now, since their records contradict
// others.
func (m *merger) suspect(names []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doubts.suspect(m.parts[1].Nodes, names)
}

// failed takes what a feed says is wrong; nil: nothing. Of two faults the first
// feed's is told.
func (m *merger) failed(feed int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[feed].err = err
	var now error
	for _, p := range m.parts {
		if now == nil {
			now = p.err
		}
	}
	text := ""
	if now != nil {
		text = fmt.Sprint(now)
	}
	if text != m.fault {
		m.fault = text
		m.fail(now)
	}
}

// merge returns what counts of each Node: what it says itself where it is
// watched, else what its record says, unless that is in doubt.
func (d doubts) merge(watched, records map[string]Node) map[string]Node {
	out := make(map[string]Node, len(watched)+len(records))
	maps.Copy(out, d.lone)
	maps.Copy(out, records)
	for name, n := range d.instead {
		if out[name] = n; n.Name == "" {
			delete(out, name)
		}
	}
	maps.Copy(out, watched)
	return out
}
