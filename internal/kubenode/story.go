// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"slices"
	"time"

	"github.com/percale-net/percale/subnet/kube/nodes"
)

// Another writer of our conditions makes us write again: so often at once, and
// then once in such a time, since there may be one at each of thousands of
// Nodes, such as the route controller of a cloud. New words for the same reason
// are written no more often than a kubelet writes its Node: they may have figures
// in them, and all agents of the cluster are sent each change.
const (
	changeBurst = 10
	changeEvery = time.Minute
	wordsEvery  = 5 * time.Minute
)

// A Story decides what Kubernetes is to be told of our node. It compares with
// what stands there, and remembers nothing but what that does not tell. It is
// not safe for concurrent use. Get it from NewStory.
type Story struct {
	network bool // NetworkUnavailable is ours to set

	trouble time.Time                  // since when; zero: there is none
	told    map[string]nodes.Condition // by type, what the last Event was about
	alarmed map[string]bool            // by reason, that there is an Alarm was told

	own     *nodes.Own                 // as read last
	written map[string]nodes.Condition // since own was read
	worded  map[string]time.Time       // when each was written last
	changes bucket
}

// NewStory returns a Story that has told nothing. With network false it leaves
// the condition NetworkUnavailable alone.
func NewStory(network bool) *Story {
	return &Story{
		network: network,
		told:    make(map[string]nodes.Condition),
		worded:  make(map[string]time.Time),
		changes: bucket{burst: changeBurst, every: changeEvery},
	}
}

// A Change is a condition to write, and what stood there before.
type Change struct {
	Want, Was nodes.Condition // Was is zero if there was none
}

// moved reports whether the status changes, and not only the words.
func (c Change) moved() bool { return c.Want.Status != c.Was.Status }

// differs reports whether more than the words change.
func (c Change) differs() bool { return c.moved() || c.Want.Reason != c.Was.Reason }

// A Step is what is to be told now.
type Step struct {
	Changes []Change
	Events  []Event
	Again   time.Duration // look again then; 0: when there is news
}

// soon asks to look again after d.
func (s *Step) soon(d time.Duration) {
	if s.Again == 0 || d < s.Again {
		s.Again = d
	}
}

// Next says what is to be told, by our Node as it was read last and by the facts.
// Of what it returns Wrote is to be told, once it is done; else it comes again.
func (s *Story) Next(own *nodes.Own, f Facts, now time.Time) (step Step) {
	if own != s.own {
		s.own, s.written = own, nil
	}
	switch {
	case f.Trouble == "":
		s.trouble = time.Time{}
	case s.trouble.IsZero():
		s.trouble = now
	}
	if !own.Exists {
		return step // it is told when there is somebody to tell of
	}
	if c, ok := network(f, now.Sub(s.trouble)); ok {
		s.tell(&step, Change{c, s.have(c.Type)}, s.network)
		if s.network {
			s.change(&step, Change{c, s.have(c.Type)}, now)
		}
	} else {
		step.soon(grace - now.Sub(s.trouble))
	}
	if c, ok := exhausted(f.Usage, s.have(PodSubnetExhausted).Reason); ok {
		s.tell(&step, Change{c, s.have(c.Type)}, false)
		s.change(&step, Change{c, s.have(c.Type)}, now)
	}
	s.alarm(&step, f.Alarms)
	return step
}

// alarm adds an Event for each Alarm that has begun.
func (s *Story) alarm(step *Step, alarms []Alarm) {
	on := make(map[string]bool, len(alarms))
	for _, a := range alarms {
		if !s.alarmed[a.Reason] && !on[a.Reason] {
			step.Events = append(step.Events, Event{warning, a.Reason, oneLine(a.Text)})
		}
		on[a.Reason] = true
	}
	s.alarmed = on
}

// have returns a condition as it stands at our Node, as far as we know.
func (s *Story) have(kind string) nodes.Condition {
	if c, ok := s.written[kind]; ok {
		return c
	}
	i := slices.IndexFunc(s.own.Conditions, func(c nodes.Condition) bool { return c.Type == kind })
	if i < 0 {
		return nodes.Condition{}
	}
	return s.own.Conditions[i]
}

// tell adds an Event if another one than last was told of, or if nothing was,
// than what stands there. Where nothing stands either, that all is well is told
// only if it is news.
func (s *Story) tell(step *Step, c Change, news bool) {
	was, before := s.told[c.Want.Type]
	if !before {
		was = c.Was
	}
	s.told[c.Want.Type] = c.Want
	well := c.Want.Reason == reasonUp || c.Want.Reason == reasonRoom
	if !(Change{c.Want, was}).differs() || was.Type == "" && well && !news {
		return
	}
	kind := warning
	if well {
		kind = normal
	}
	step.Events = append(step.Events, Event{kind, c.Want.Reason, c.Want.Message})
}

// change adds c if it is one, as soon as it may be written.
func (s *Story) change(step *Step, c Change, now time.Time) {
	var wait time.Duration
	switch {
	case c.Want == c.Was:
		return
	case c.differs():
		wait = s.changes.wait(now)
	default:
		wait = s.worded[c.Want.Type].Add(wordsEvery).Sub(now)
	}
	if wait > 0 {
		step.soon(wait)
		return
	}
	step.Changes = append(step.Changes, c)
}

// Wrote notes that a change was made.
func (s *Story) Wrote(c Change, now time.Time) {
	if s.written == nil {
		s.written = make(map[string]nodes.Condition)
	}
	s.written[c.Want.Type] = c.Want
	s.worded[c.Want.Type] = now
	if c.differs() {
		s.changes.take(now)
	}
}
