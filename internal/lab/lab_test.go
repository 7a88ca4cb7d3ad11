// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// half makes the part of a lab that needs no etcd, as an interrupted Up would
// leave it; its agents only sleep.
func half(t *testing.T, spec Spec) *Lab {
	t.Helper()
	spec.Bin = t.TempDir()
	if err := os.WriteFile(filepath.Join(spec.Bin, "percaled"), []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := spec.fill(); err != nil {
		t.Fatal(err)
	}
	lock, err := lockDir(dirOf(spec.Name))
	if err != nil {
		t.Fatal(err)
	}
	lock.unlock()
	t.Cleanup(func() {
		if err := Down(t.Context(), spec.Name); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	l := &Lab{rec: record{Spec: spec, Processes: make(map[string]Process)}}
	if err := l.buildSwitches(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range spec.Nodes {
		if _, err := l.AddNode(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// labName returns a name that no other run of the tests uses.
func labName(letter string) string { return letter + strconv.FormatInt(int64(os.Getpid())%1e7, 36) }

func TestNodesReachEachOtherOverTheFabric(t *testing.T) {
	t.Parallel()
	l := half(t, Spec{Name: labName("a"), Nodes: 3, Switches: 2, Families: Dual})
	for _, to := range l.Nodes() {
		for _, a := range to.Uplink() {
			at := net.JoinHostPort(a.String(), "7007")
			var ln net.Listener
			err := to.NS().Do(func() (err error) {
				ln, err = net.Listen("tcp", at)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, from := range l.Nodes() {
				c, err := dialerIn(from.NS())(t.Context(), at)
				if err != nil {
					t.Errorf("from %s to %s at %s: %v", from.Name(), to.Name(), at, err)
					continue
				}
				c.Close()
			}
			ln.Close()
		}
	}
	if err := l.Down(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDownLeavesNothingOfAHalfBuiltLab(t *testing.T) {
	t.Parallel()
	l := half(t, Spec{Name: labName("b"), Nodes: 2})
	byHand, err := spawn(l.Node(1).NS(), l.LogPath("hand"), []string{"sleep", "1000"}) // never written down
	if err != nil {
		t.Fatal(err)
	}
	agent := l.process(agentRole("n1", 0))
	if !agent.Running() || !byHand.Running() {
		t.Fatalf("agent runs: %v, process started by hand: %v; want both", agent.Running(), byHand.Running())
	}
	if _, err := Open(l.Name()); err == nil {
		t.Error("Open of a half-built lab succeeded; want an error")
	}
	for range 2 {
		if err := Down(t.Context(), l.Name()); err != nil {
			t.Error(err)
		}
	}
	if agent.Running() || byHand.Running() {
		t.Errorf("agent runs: %v, process started by hand: %v; want neither", agent.Running(), byHand.Running())
	}
	if _, err := os.Stat(dirOf(l.Name())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder of the lab: %v; want it gone", err)
	}
	for _, name := range l.rec.Namespaces {
		if _, err := os.Stat(netns.Named(name).Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("namespace %s: %v; want it gone", name, err)
		}
	}
}

func TestNamespacesOfOthersAreSpared(t *testing.T) {
	t.Parallel()
	name := labName("c")
	other, err := netns.Create(nodeNS(name, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Delete()
	l := half(t, Spec{Name: name, Nodes: 1})
	if _, err := l.AddNode(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("AddNode over a foreign namespace = %v; want an error that says so", err)
	}
	if err := l.Down(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := other.Output("true"); err != nil {
		t.Errorf("foreign namespace after Down: %v; want it whole", err)
	}
}

func TestAgentStopsAndStarts(t *testing.T) {
	t.Parallel()
	l := half(t, Spec{Name: labName("d"), Nodes: 1})
	a := l.Node(1).Agent(0)
	first := a.PID()
	if err := a.Start(); err == nil {
		t.Error("Start of a running agent succeeded; want an error")
	}
	if err := a.Stop(t.Context()); err != nil || a.PID() != 0 {
		t.Errorf("Stop = %v, process %d; want it gone", err, a.PID())
	}
	if err := a.Start(); err != nil || a.PID() == 0 || a.PID() == first {
		t.Errorf("Start = %v, process %d; want one other than %d", err, a.PID(), first)
	}
	if err := a.Kill(t.Context()); err != nil || a.PID() != 0 {
		t.Errorf("Kill = %v, process %d; want it gone", err, a.PID())
	}
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	name := labName("e")
	lock, err := lockDir(dirOf(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), name); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("Down of a lab at work = %v; want %v", err, unix.EWOULDBLOCK)
	}
	lock.unlock()
	if err := Down(t.Context(), name); err != nil {
		t.Errorf("Down = %v; want success", err)
	}
	if _, err := os.Stat(dirOf(name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder of the lab: %v; want it gone", err)
	}
}
