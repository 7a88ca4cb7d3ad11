// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/cnifiles"
	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/status"
)

const conflist = `{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"percale-cni"}]}`

// cniAgent runs the loop that keeps CNI files, in a directory of the test.
func cniAgent(t *testing.T, exclusive bool) (a *Agent, dir string) {
	t.Helper()
	s := config.Settings{NodeName: "n1", RunDir: t.TempDir(), CNIConfDir: filepath.Join(t.TempDir(), "net.d"), CNIConfExclusive: exclusive}
	s.CNIConfFile = filepath.Join(t.TempDir(), cnifiles.Name)
	if err := errors.Join(os.WriteFile(s.CNIConfFile, []byte(conflist), 0o644), os.MkdirAll(s.CNIConfDir, 0o755)); err != nil {
		t.Fatal(err)
	}
	a = New(s, "test", slog.New(slog.DiscardHandler))
	runLoop(t, a.keepCNI)
	return a, s.CNIConfDir
}

// runLoop runs a loop until the test ends.
func runLoop(t *testing.T, loop func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("loop = %v when its context ended; want nil", err)
		}
	})
}

// getReady lets the status say what a working agent's does.
func (a *Agent) getReady() {
	a.report(func(s *status.Status) {
		s.Backend, s.Store.Synced, s.Kernel.Count, s.Firewall.InSync = "vxlan", true, 1, true
		s.Subnets = append(s.Subnets, netip.MustParsePrefix("10.42.7.0/24"))
		s.Told = s.Subnets
	})
}

// eventually waits for what the loop does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func problemOf(a *Agent, part string) string {
	for _, p := range a.board.Status().Problems {
		if p.Part == part {
			return p.Seen
		}
	}
	return ""
}

func TestCNIConfigurationIsKept(t *testing.T) {
	t.Parallel()
	a, dir := cniAgent(t, false)
	path := filepath.Join(dir, cnifiles.Name)
	holds := func() bool {
		b, err := os.ReadFile(path)
		return err == nil && string(b) == conflist
	}
	rival := filepath.Join(dir, "05-other.conflist")
	if err := os.WriteFile(rival, []byte(`{"name":"x","plugins":[{"type":"ptp"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rival is told of before the node is ready", func() bool { return strings.Contains(problemOf(a, partCNI), rival) })
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat = %v; want no configuration before the node is ready", err)
	}
	a.getReady()
	eventually(t, "written when the node is ready", holds)
	for _, spoil := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.WriteFile(path, []byte("{}"), 0o644) },
		func() error { return os.Chmod(path, 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "restored", func() bool {
			fi, err := os.Stat(path)
			return holds() && err == nil && fi.Mode() == 0o644
		})
	}
	if err := os.Remove(rival); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the problem goes with the rival", func() bool { return problemOf(a, partCNI) == "" })
	a.report(func(s *status.Status) { s.Fault(partKernel, errors.New("no"), time.Now()) })
	if !holds() || a.board.Status().Ready {
		t.Error("the configuration is gone with readiness; want it to stay")
	}
}

func TestCNIRivalsAreSetAside(t *testing.T) {
	t.Parallel()
	a, dir := cniAgent(t, true)
	rival := filepath.Join(dir, "10-flannel.conflist")
	for range 2 { // its owner writes it again
		if err := os.WriteFile(rival, []byte(strings.Replace(conflist, "percale-cni", "flannel", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		a.getReady()
		eventually(t, "set aside", func() bool {
			_, err := os.Stat(rival)
			return errors.Is(err, fs.ErrNotExist)
		})
		if _, err := os.Stat(filepath.Join(dir, cnifiles.Name)); err != nil {
			t.Errorf("ours: %v; want it there before the other goes", err)
		}
	}
	if _, err := os.Stat(rival + ".percale-off"); err != nil {
		t.Errorf("set aside: %v; want it kept", err)
	}
	eventually(t, "no note is left", func() bool { return len(a.cniNotes()) == 0 })
}

// A configuration that uses our subnet is no problem, though not ours.
func TestCNIRivalThatServesIsANote(t *testing.T) {
	t.Parallel()
	notes, problem := tellRivals("/etc/cni/net.d", []cnifiles.Rival{{Name: "10-flannel.conflist", Plugins: []string{"flannel", "portmap"}}})
	if len(notes) != 1 || problem != nil || !strings.Contains(notes[0], "mv ") {
		t.Errorf("tellRivals = %q, %v; want a note with a command", notes, problem)
	}
	_, problem = tellRivals("/etc/cni/net.d", []cnifiles.Rival{{Name: "05-bad.conf", Err: errors.New("bad")}})
	if problem == nil || !strings.Contains(problem.Error(), "--cni-conf-exclusive") {
		t.Errorf("problem = %v; want one with a remedy", problem)
	}
}

func TestCNIProblemIsTold(t *testing.T) {
	t.Parallel()
	a, dir := cniAgent(t, false)
	if err := os.WriteFile(a.settings.CNIConfFile, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	a.getReady()
	eventually(t, "the template is complained of", func() bool { return strings.Contains(problemOf(a, partCNI), a.settings.CNIConfFile) })
	if err := os.WriteFile(a.settings.CNIConfFile, []byte(conflist), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is tried again", func() bool { return problemOf(a, partCNI) == "" })
	if _, err := os.Stat(filepath.Join(dir, cnifiles.Name)); err != nil {
		t.Error(err)
	}
}
