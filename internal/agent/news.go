// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet"
)

// News are what the store told last.
type news struct {
	mu       sync.Mutex // guards all following fields
	snapshot subnet.Snapshot
	at       time.Time // when snapshot was told; zero: never, and it means nothing
}

// tell takes a snapshot in place of the one before. What only one snapshot says
// is not forgotten before somebody has heard it.
func (n *news) tell(s subnet.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.Rewound, s.OwnLost = s.Rewound || n.snapshot.Rewound, s.OwnLost || n.snapshot.OwnLost
	n.snapshot, n.at = s, time.Now()
}

// hear returns the newest snapshot and when it was told, a zero time if never.
func (n *news) hear() (s subnet.Snapshot, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s = n.snapshot
	n.snapshot.Rewound, n.snapshot.OwnLost = false, false
	return s, n.at
}

// learn takes a snapshot from the store.
func (a *Agent) learn(s subnet.Snapshot) {
	a.news.tell(s)
	a.newsLoop.Kick()
}

// newsRound decides what to believe of what the store told last.
func (a *Agent) newsRound(context.Context) (time.Duration, error) {
	snapshot, at := a.news.hear()
	if at.IsZero() {
		return a.fallBack(), nil
	}
	now, v := time.Now(), a.facts.view()
	away := v.away(now) // a store that cannot be asked stands by nothing
	believed, doubt := a.belief.Learn(snapshot, v.last(), now.Add(-away))
	doubt = doubt.Later(away)
	if a.facts.update(func(v *view) { v.snapshot, v.synced, v.cached = believed, true, false }) {
		a.leases.Kick()
		a.kernels.Kick()
		a.cache.Kick()
	}
	a.report(func(s *status.Status) {
		s.Store.Synced, s.Store.Cached, s.Store.At = true, false, at
		s.Fault("leases", doubted(doubt), now)
	})
	if doubt.Kept == 0 || !v.awaySince.IsZero() {
		return 0, nil // news kick, and so does a store that is back
	}
	return max(time.Until(doubt.Until), time.Second), nil
}

// doubted returns a doubt as what is wrong.
func doubted(d subnet.Doubt) error {
	if d.Kept == 0 {
		return nil
	}
	return errors.New(d.String())
}

// storeFault takes news of the store's connection.
func (a *Agent) storeFault(err error) {
	now := time.Now()
	var since time.Time
	a.facts.update(func(v *view) {
		if err == nil {
			v.awayTotal, v.awaySince = v.away(now), time.Time{}
		} else if v.awaySince.IsZero() {
			v.awaySince = now
		}
		since = v.awaySince
	})
	a.report(func(st *status.Status) {
		st.Store.Error, st.Store.AwaySince = "", since
		if err != nil {
			st.Store.Error = err.Error()
		}
		st.Fault(partStore, err, now)
	})
	if err != nil {
		a.log.Warn("store is away; the data plane stays as it is", "err", err)
		return
	}
	a.log.Info("store is back")
	a.newsLoop.Kick()
	a.kickConf() // its watch does not notice that a store came back emptied, or from a backup
}
