// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
)

const (
	every   = 10 * time.Millisecond // between two pings
	allowed = 10                    // packets lost to a fault that is healed at once
	patient = 20 * time.Second      // for what is to heal; less than the 30 s after which an agent looks unasked
	brief   = 2 * time.Second       // for what is known not to
	after   = 20                    // answers, once healed, that show that it stays so
	tries   = 3                     // of a fault that is healed, but too late
)

// A mode is a kind of node that faults befall.
type mode struct {
	name string
	spec lab.Spec
}

var modes = []mode{
	{"nftables, IPv4", lab.Spec{}},
	{"nftables, dual", lab.Spec{Families: lab.Dual}},
	{"iptables, IPv4", lab.Spec{Conf: json.RawMessage(`{"Firewall":"iptables"}`)}},
	{"iptables, dual", lab.Spec{Families: lab.Dual, Conf: json.RawMessage(`{"Firewall":"iptables"}`)}},
}

// A suite is a list of faults, the modes to run them in, and which of them are
// not healed, in all modes or in one ("name, mode"), and why.
type suite struct {
	faults []fault
	modes  []mode
	notYet map[string]string
}

// TestFaults runs every fault in every mode, and prints what came of it.
func TestFaults(t *testing.T) {
	suite{faults, modes, notYet}.run(t)
}

func (s suite) run(t *testing.T) {
	var r report
	s.checkNotYet(t)
	t.Run("mode", func(t *testing.T) {
		for _, m := range s.modes {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				v := newVictim(t, m.spec)
				for _, f := range s.faults {
					if v.dual() || !f.dualOnly {
						t.Run(f.name, func(t *testing.T) { r.add(m, v.suffer(t, f, s.known(f, m))) })
					}
				}
				prove(t, v.lab)
			})
		}
	})
	t.Logf("what each fault did to a ping every %v; the time to heal includes that of one look at everything:\n%s",
		every, r.table(s))
}

// known returns why a fault is known not to be healed, "" if it is to be.
func (s suite) known(f fault, m mode) string {
	return s.notYet[f.name] + s.notYet[f.name+", "+m.name]
}

// checkNotYet fails the test if the list names what does not exist.
func (s suite) checkNotYet(t *testing.T) {
	t.Helper()
	names := make(map[string]bool)
	for _, f := range s.faults {
		names[f.name] = true
		for _, m := range s.modes {
			names[f.name+", "+m.name] = true
		}
	}
	for name := range s.notYet {
		if !names[name] {
			t.Errorf("notYet has %q; there is no such fault", name)
		}
	}
}

// suffer lets one fault happen, and fails the test unless it fares as it is to:
// unless it is healed, or, if why is given, is not.
// A machine that is busy with other things makes every agent late, so one that
// healed too late may try again.
func (v *victim) suffer(t *testing.T, f fault, why string) outcome {
	t.Helper()
	known, long := why != "", patient
	if known {
		long = brief
	}
	o := v.try(t, f, long)
	for again := 1; again < tries && !known && errors.Is(o.err, errLost); again++ {
		t.Logf("%s: %v; once more", f.name, o.err)
		o = v.try(t, f, long)
	}
	switch {
	case known && o.err == nil:
		t.Errorf("%s is healed, in %v with %s lost: take it off notYet (%s)", f.name, o.healed, o.losses(), why)
	case known:
		t.Logf("%s is not healed yet: %s", f.name, why)
	case o.err != nil:
		t.Errorf("%s: %v", f.name, o.err)
	}
	return o
}

// errLost says that a fault was healed, but cost too many packets.
var errLost = errors.New("too many packets lost")

// try lets one fault happen under pings, waits for the node to heal, and then
// sees to it that it is whole for the next one.
func (v *victim) try(t *testing.T, f fault, long time.Duration) outcome {
	t.Helper()
	if v.lab.Spec().Store == lab.StoreKube {
		v.inTouch(t)
	}
	pid := v.node.Agent(0).PID()
	ps := v.ping(t)
	before := v.settled(t)
	v.wrong = nil
	began := time.Now()
	f.inject(t, v)
	if f.cuts {
		f.extra += int(time.Since(began)/every) + 1
	}
	began, answered := time.Now(), ps.answered()
	err := eventually(t, long, func() error {
		return errors.Join(ps.flow(answered, 2), v.stands(t, f, before))
	})
	o := outcome{fault: f.name, healed: time.Since(began), err: err}
	if err == nil && f.follows {
		o.err = v.follow(t)
	}
	if o.err = errors.Join(o.err, v.wrong); o.err == nil {
		o.err = v.stays(t, f, before, ps)
	}
	broken := o.err != nil
	if o.lost, err = ps.stop(); err != nil {
		t.Fatal(err)
	}
	if now := v.node.Agent(0).PID(); (now == pid) == f.restarts || now == 0 {
		o.err = errors.Join(o.err, fmt.Errorf("process of the agent was %d, is %d", pid, now))
	}
	if o.err == nil {
		o.err = tooMany(o.lost, allowed+f.extra)
	}
	v.mend(t, f, before, broken)
	return o
}

// stays reports as an error that a node which has healed is not so any more
// some answers later.
func (v *victim) stays(t *testing.T, f fault, before state, ps pings) error {
	t.Helper()
	answered := ps.answered()
	return errors.Join(
		eventually(t, patient, func() error { return ps.flow(answered, after) }),
		v.stands(t, f, before),
	)
}

// tooMany reports as an error that more packets were lost than may be.
func tooMany(lost []int, most int) error {
	for _, n := range lost {
		if n > most {
			return fmt.Errorf("%w: %v; want %d at most of each family", errLost, lost, most)
		}
	}
	return nil
}
