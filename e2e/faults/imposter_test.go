// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// while runs fn while the agent stands still, so that it finds all at once.
func (v *victim) while(t *testing.T, fn func()) {
	t.Helper()
	if err := v.node.Agent(0).Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := v.node.Agent(0).Resume(); err != nil {
			t.Fatal(err)
		}
	}()
	fn()
}

// replaceOverlays deletes each overlay device, makes one of its name as is
// said, unless that is "", and more devices. FAMILY in it stands for 0 or 1,
// UPLINK for the address.
func replaceOverlays(how string, more ...string) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		v.while(t, func() {
			for i, device := range v.overlays {
				commands := []string{"link del dev " + device}
				if how != "" {
					commands = append(commands, "link add "+device+" "+how)
				}
				for _, m := range more {
					commands = append(commands, "link add "+m)
				}
				fill := strings.NewReplacer("FAMILY", strconv.Itoa(i), "UPLINK", v.node.Uplink()[i].String())
				for j := range commands {
					commands[j] = fill.Replace(commands[j])
				}
				batch(t, v.node.NS(), "", commands...)
			}
		})
	}
}

// forgetAddress puts a device without an address, which is then of IPv4, in the
// first overlay's place.
func forgetAddress(t *testing.T, v *victim) {
	t.Helper()
	v.while(t, func() {
		batch(t, v.node.NS(), "", "link del dev "+v.overlays[0], "link add vx0 type vxlan id 1 dstport 8472")
	})
}

// bridgesStay reports as an error that an imposter was deleted: it is somebody's.
func bridgesStay(t *testing.T, v *victim) error {
	t.Helper()
	bridges := run(t, v.node.NS(), "ip -o link show type bridge")
	for _, device := range v.overlays {
		if !strings.Contains(bridges, " "+device+": ") {
			return fmt.Errorf("somebody's bridge %s is gone", device)
		}
	}
	return nil
}

// removeImposters deletes what bears an overlay device's name and is none, and
// then overlay devices of other names, so that the agent makes them anew under
// their own.
func removeImposters(t *testing.T, v *victim) {
	t.Helper()
	var spares []string
	for i, device := range v.overlays {
		is := v.overlay(t, i)
		for _, name := range []string{device, fmt.Sprintf("vx%d", i)} {
			if name != is {
				v.node.NS().Output("ip", "link", "del", "dev", name) // may be absent
			}
		}
		if is != device && is != "" {
			spares = append(spares, is)
		}
	}
	v.looksAgain(t)
	for _, name := range spares {
		v.node.NS().Output("ip", "link", "del", "dev", name) // may be gone with the imposter
	}
}

// looksAgain waits for a round of the agent that begins from now on. One that
// has begun may still plan by what was there before.
func (v *victim) looksAgain(t *testing.T) {
	t.Helper()
	now := time.Now()
	must(t, eventually(t, limit, func() error {
		run(t, v.node.NS(), "ip route replace blackhole 192.0.2.9")
		run(t, v.node.NS(), "ip route del blackhole 192.0.2.9")
		s, err := v.node.Agent(0).Status(t.Context())
		if err == nil && !s.Kernel.Last.After(now) {
			err = fmt.Errorf("the last round began at %v; want one after %v", s.Kernel.Last, now)
		}
		return err
	}))
}
