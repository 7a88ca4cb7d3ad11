// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"fmt"
	"maps"
	"sync"
)

// A merger makes one of what several feeds tell: where two tell of a Node, the
// later one counts. Its methods may be called concurrently.
type merger struct {
	fn   func(Snapshot)
	fail func(error)

	mu    sync.Mutex // held while fn and fail run
	parts []part
	fault string // what fail was called with last; "": nothing, or nil
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
	whole := Snapshot{Nodes: m.parts[0].Nodes}
	for i, p := range m.parts {
		if !p.known {
			return
		}
		if i == 1 {
			whole.Nodes = maps.Clone(whole.Nodes)
		}
		if i > 0 {
			maps.Copy(whole.Nodes, p.Nodes)
		}
		whole.Omitted += p.Omitted
		whole.Rewound = whole.Rewound || p.Rewound
	}
	for i := range m.parts {
		m.parts[i].Rewound = false
	}
	m.fn(whole)
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
