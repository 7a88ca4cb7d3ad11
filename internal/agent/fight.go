// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"slices"
	"time"
)

// So many repairs in so short a time mean that another program undoes our work
// each time that it is done.
const (
	fightRepairs = 20
	fightWindow  = 10 * time.Second
)

var errFight = errors.New("another program undoes again and again what we write: " +
	"see which with \"ip monitor link address route neigh\", and stop it, or give this agent its own VNI and network")

// A fight counts repairs. While it is on, rounds count as failed, so that the
// loop slows down.
type fight struct{ repairs []time.Time }

func (f *fight) note(at time.Time) {
	f.repairs = append(slices.DeleteFunc(f.repairs, func(t time.Time) bool { return at.Sub(t) > fightWindow }), at)
}

func (f *fight) on(now time.Time) bool {
	return len(f.repairs) >= fightRepairs && now.Sub(f.repairs[len(f.repairs)-fightRepairs]) <= fightWindow
}

func (f *fight) err(now time.Time) error {
	if f.on(now) {
		return errFight
	}
	return nil
}
