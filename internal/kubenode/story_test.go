// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/percale-net/percale/subnet/kube/nodes"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A play is a Story with a Node that does as it says.
type play struct {
	t     *testing.T
	story *Story
	own   nodes.Own
	now   time.Time
	facts Facts
}

func newPlay(t *testing.T, conditions ...nodes.Condition) *play {
	return &play{t: t, story: NewStory(true), now: noon,
		own: nodes.Own{Node: nodes.Node{Name: "n1", UID: "u"}, Exists: true, Conditions: conditions}}
}

// act looks once, after d, and wants to see what is written and told, as
// "type=status/reason" and "!reason".
func (p *play) act(d time.Duration, want ...string) Step {
	p.t.Helper()
	p.now = p.now.Add(d)
	own := p.own // a new reading each time
	own.Conditions = slices.Clone(own.Conditions)
	step := p.story.Next(&own, p.facts, p.now)
	var got []string
	for _, c := range step.Changes {
		got = append(got, fmt.Sprintf("%s=%s/%s", c.Want.Type, c.Want.Status, c.Want.Reason))
		p.story.Wrote(c, p.now)
		p.set(c.Want)
	}
	for _, e := range step.Events {
		got = append(got, "!"+e.Reason)
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("at %v told %q; want %q", p.now.Sub(noon), got, want)
	}
	return step
}

func (p *play) set(c nodes.Condition) {
	p.own.Conditions = slices.DeleteFunc(slices.Clone(p.own.Conditions), func(o nodes.Condition) bool { return o.Type == c.Type })
	p.own.Conditions = append(p.own.Conditions, c)
}

var (
	up   = nodes.Condition{Type: NetworkUnavailable, Status: "False", Reason: "PercaleIsUp", Message: "The ways to this node's peers are in its kernel"}
	room = nodes.Condition{Type: PodSubnetExhausted, Status: "False", Reason: "PodSubnetHasRoom", Message: "This node has addresses left for pods"}
)

func TestNewNode(t *testing.T) {
	t.Parallel()
	p := newPlay(t)
	p.facts = Facts{Trouble: "leasing a subnet"}
	if again := p.act(0).Again; again != grace {
		t.Errorf("again in %v; want %v, when it is trouble", again, grace)
	}
	p.facts = Facts{Usage: []Usage{{Used: 1, Total: 253}}}
	p.act(time.Second, "NetworkUnavailable=False/PercaleIsUp", "PodSubnetExhausted=False/PodSubnetHasRoom", "!PercaleIsUp")
	p.act(time.Hour)
}

// An agent that starts again and finds all as it should be says nothing.
func TestRestart(t *testing.T) {
	t.Parallel()
	p := newPlay(t, up, room)
	p.facts = Facts{Trouble: "programming the kernel"}
	p.act(0)
	p.facts = Facts{Usage: []Usage{{Used: 1, Total: 253}}}
	p.act(time.Second)
	p.act(time.Hour)
}

// Flannel's word is replaced by ours.
func TestTakeover(t *testing.T) {
	t.Parallel()
	p := newPlay(t, nodes.Condition{Type: NetworkUnavailable, Status: "False", Reason: "FlannelIsUp"})
	step := p.act(0, "NetworkUnavailable=False/PercaleIsUp", "!PercaleIsUp")
	if step.Changes[0].moved() {
		t.Error("the status is told to have changed; want only the reason to")
	}
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	p := newPlay(t, up)
	p.act(0)
	for range 5 { // what heals by itself, again and again
		p.facts = Facts{Part: "firewall", Trouble: "locked"}
		p.act(time.Second)
		p.act(grace / 2)
		p.facts = Facts{}
		p.act(time.Second)
	}
	p.facts = Facts{Part: "uplink", Trouble: "none fits"}
	p.act(time.Second)
	p.act(grace, "NetworkUnavailable=True/NoUplink", "!NoUplink")
	p.act(time.Minute)
	p.facts.Part, p.facts.Trouble = "lease", "no subnet is free"
	p.act(time.Second, "NetworkUnavailable=True/NoSubnet", "!NoSubnet")
	p.facts = Facts{}
	p.act(time.Second, "NetworkUnavailable=False/PercaleIsUp", "!PercaleIsUp")
}

// Words that change with figures in them are written every few minutes, and make no
// Event.
func TestWords(t *testing.T) {
	t.Parallel()
	p := newPlay(t, up)
	p.facts = Facts{Part: "kernel", Trouble: "round 0"}
	p.act(0)
	p.act(grace, "NetworkUnavailable=True/KernelRefuses", "!KernelRefuses")
	for i := 1; i < int(wordsEvery/time.Second); i++ {
		p.facts.Trouble = fmt.Sprint("round ", i)
		if again := p.act(time.Second).Again; again != wordsEvery-time.Duration(i)*time.Second {
			t.Fatalf("again in %v after %d s; want when they may be written", again, i)
		}
	}
	p.act(time.Second, "NetworkUnavailable=True/KernelRefuses")
}

// Who else writes our condition is set right, at once but not for ever at once,
// and it is no news: the network did not change.
func TestMeddler(t *testing.T) {
	t.Parallel()
	p := newPlay(t, up)
	p.act(0)
	other := nodes.Condition{Type: NetworkUnavailable, Status: "True", Reason: "NoRouteCreated"}
	writes := 0
	for range 600 { // ten a second
		p.set(other)
		own := p.own
		p.now = p.now.Add(100 * time.Millisecond)
		step := p.story.Next(&own, p.facts, p.now)
		for _, c := range step.Changes {
			writes++
			p.story.Wrote(c, p.now)
			p.set(c.Want)
		}
		if len(step.Events) > 0 || len(step.Changes) == 0 && step.Again == 0 {
			t.Fatalf("step %+v; want a write, or when the next may come, and no event", step)
		}
	}
	if want := changeBurst + int(time.Minute/changeEvery); writes < want-1 || writes > want {
		t.Errorf("%d writes in a minute; want %d", writes, want)
	}
}

// The Node is made anew, with none of its conditions.
func TestNodeIsMadeAnew(t *testing.T) {
	t.Parallel()
	p := newPlay(t, up, room)
	p.facts = Facts{Usage: []Usage{{Used: 1, Total: 253}}}
	p.act(0)
	p.own = nodes.Own{}
	p.act(time.Second)
	p.own = nodes.Own{Node: nodes.Node{Name: "n1", UID: "v"}, Exists: true}
	p.act(time.Second, "NetworkUnavailable=False/PercaleIsUp", "PodSubnetExhausted=False/PodSubnetHasRoom")
}

func TestAddressesRunOut(t *testing.T) {
	t.Parallel()
	p := newPlay(t, up)
	use := func(n uint64, want ...string) {
		t.Helper()
		p.facts.Usage = []Usage{{Used: n, Total: 100, Text: "subnet, users"}}
		p.act(time.Minute, want...)
	}
	use(1, "PodSubnetExhausted=False/PodSubnetHasRoom")
	use(79)
	use(80, "PodSubnetExhausted=False/PodSubnetNearlyFull", "!PodSubnetNearlyFull")
	use(79)
	use(100, "PodSubnetExhausted=True/PodSubnetFull", "!PodSubnetFull")
	use(99, "PodSubnetExhausted=False/PodSubnetNearlyFull", "!PodSubnetNearlyFull")
	use(74, "PodSubnetExhausted=False/PodSubnetHasRoom", "!PodSubnetHasRoom")
	p.facts.Usage = nil
	p.act(time.Minute)
}

// Without leave to set NetworkUnavailable, its trouble is told all the same.
func TestConditionIsNotOurs(t *testing.T) {
	t.Parallel()
	p := newPlay(t)
	p.story = NewStory(false)
	p.act(0)
	p.facts = Facts{Part: "uplink", Trouble: "none fits"}
	p.act(time.Second)
	p.act(grace, "!NoUplink")
	p.facts = Facts{}
	p.act(time.Second, "!PercaleIsUp")
}

func TestAlarmIsToldWhenItBegins(t *testing.T) {
	t.Parallel()
	p := newPlay(t, up)
	p.facts.Alarms = []Alarm{{Fight, "route was undone 20 times"}, {Fight, "rules, too"}}
	p.act(0, "!FightWithOtherProgram")
	p.facts.Alarms = []Alarm{{Fight, "route was undone 21 times"}, {LeaseFails, "no podCIDR"}}
	p.act(time.Second, "!LeaseFails")
	p.facts.Alarms = nil
	p.act(time.Second)
	p.facts.Alarms = []Alarm{{Fight, "again"}}
	p.act(time.Second, "!FightWithOtherProgram")
}

// What was written counts until the Node is read again, though that takes long.
func TestOwnWordsAreRemembered(t *testing.T) {
	t.Parallel()
	s, own := NewStory(true), &nodes.Own{Exists: true}
	step := s.Next(own, Facts{}, noon)
	if len(step.Changes) != 1 {
		t.Fatalf("step = %+v; want a change", step)
	}
	if again := s.Next(own, Facts{}, noon.Add(time.Second)); len(again.Changes) != 1 || len(again.Events) > 0 {
		t.Errorf("after a write that failed: %+v; want the change again, and no second event", again)
	}
	s.Wrote(step.Changes[0], noon)
	if again := s.Next(own, Facts{}, noon.Add(2*time.Second)); len(again.Changes) > 0 {
		t.Errorf("after the write: %+v; want no change", again)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	b, taken := bucket{burst: 3, every: time.Minute}, 0
	for i := range 600 {
		now := noon.Add(time.Duration(i) * time.Second)
		free := b.wait(now) == 0
		if got := b.take(now); got != free {
			t.Fatalf("take = %v at %d s; wait says %v", got, i, free)
		} else if got {
			taken++
		}
	}
	if taken != 3+9 {
		t.Errorf("%d taken in ten minutes; want 3 at once and one a minute", taken)
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	l, now := newLedger(), noon
	sent := func(reason string) (entry, bool) {
		n, ok := l.take(Event{normal, reason, "m"}, now)
		if ok {
			var again bool
			n, again = l.recall(n)
			l.keep(n)
			return n, again
		}
		return n, false
	}
	first, _ := sent("Up")
	other, _ := sent("Down")
	if first.name("n1") == other.name("n1") {
		t.Errorf("two events at once have one name: %s", first.name("n1"))
	}
	now = now.Add(time.Minute)
	if n, again := sent("Up"); !again || n.count != 2 || n.name("n1") != first.name("n1") || n.first != noon || n.last != now {
		t.Errorf("again = %+v, %v; want the first counted up", n, again)
	}
	now = now.Add(sameEvent)
	if n, again := sent("Up"); again || n.count != 1 || n.first != now {
		t.Errorf("much later = %+v, %v; want a new one", n, again)
	}
	missed := 0
	for range 100 {
		if n, _ := sent("Up"); n.count == 0 {
			missed++
		}
	}
	now = now.Add(eventEvery)
	if n, again := sent("Up"); !again || n.count != 102 || missed < 85 {
		t.Errorf("after %d that were too many: %+v, %v; want all 102 counted", missed, n, again)
	}
	for i := range 3 * keptEvents {
		now = now.Add(eventEvery)
		sent(fmt.Sprint("R", i))
	}
	if len(l.sent) > keptEvents {
		t.Errorf("%d events are remembered; want at most %d", len(l.sent), keptEvents)
	}
}
