// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

func TestProcessIsNeverItsSuccessor(t *testing.T) {
	t.Parallel()
	p, err := spawn(netns.Temp(t), filepath.Join(t.TempDir(), "log"), []string{"sleep", "1000"})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Errorf("%+v does not run; want it to", p)
	}
	other := p
	other.Start-- // as if the id had passed to p
	if other.Running() {
		t.Errorf("%+v runs; want it gone, as its id is that of a younger process", other)
	}
	if err := other.signal(t.Context(), unix.SIGKILL); err != nil || !p.Running() {
		t.Errorf("signal a gone process: %v, its successor runs: %v; want no error and an unharmed successor", err, p.Running())
	}
	if err := p.signal(t.Context(), unix.SIGKILL); err != nil || p.Running() {
		t.Errorf("kill = %v, runs: %v; want it gone", err, p.Running())
	}
	if err := p.signal(t.Context(), unix.SIGKILL); err != nil {
		t.Errorf("kill twice = %v; want success", err)
	}
}

func TestKillInsideSparesOthers(t *testing.T) {
	t.Parallel()
	in, out := netns.Temp(t), netns.Temp(t)
	dir := t.TempDir()
	var ps []Process
	for _, ns := range []netns.NS{in, in, out} {
		p, err := spawn(ns, filepath.Join(dir, "log"), []string{"sleep", "1000"})
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	if err := killInside(t.Context(), []string{in.Name(), "absent"}); err != nil {
		t.Fatal(err)
	}
	if ps[0].Running() || ps[1].Running() || !ps[2].Running() {
		t.Errorf("run after killInside: %v %v %v; want false false true", ps[0].Running(), ps[1].Running(), ps[2].Running())
	}
	if err := ps[2].signal(t.Context(), unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func FuzzParseStart(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("1 (a) b) c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 77 9 9"))
	f.Add([]byte(")"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, stat []byte) {
		start, err := parseStart(stat)
		if err != nil {
			return
		}
		// What follows the 22nd field never matters.
		if again, err := parseStart(fmt.Appendf(stat, " 1")); err != nil || again != start {
			t.Errorf("parseStart with a field more = %d, %v; want %d", again, err, start)
		}
	})
}
