// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
)

// truncate leaves half a file, as a crash in the middle of a write may.
func truncate(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, st.Size()/2)
}

func remove(path string) error { return os.Remove(path) }

// dated sets when a file was changed.
func dated(at time.Time) func(string) error {
	return func(path string) error { return os.Chtimes(path, at, at) }
}

func onSubnetFile(do func(path string) error) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		if err := do(v.node.Agent(0).SubnetFile()); err != nil {
			t.Fatal(err)
		}
	}
}

// whileKilled lets a fault happen between the agent's death and its next life.
func whileKilled(inject func(*testing.T, *victim)) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		if err := v.node.Agent(0).Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		inject(t, v)
		if err := v.node.Agent(0).Start(); err != nil {
			t.Fatal(err)
		}
	}
}

// stateFiles lists the files of an agent's state and run directories that have
// something in them, and subnet.env.
func stateFiles(t *testing.T, a *lab.Agent) []string {
	t.Helper()
	files := []string{a.SubnetFile()}
	for _, dir := range []string{a.StateDir(), a.RunDir()} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 2 {
		t.Fatalf("files %q; want the lease among them", files)
	}
	return files
}

func onStateFiles(do func(path string) error) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		var errs []error
		for _, path := range stateFiles(t, v.node.Agent(0)) {
			errs = append(errs, do(path))
		}
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
}

// takeStateFiles puts the other node's state in place of ours, as a copied disk
// does. subnet.env is ours still: it does not outlive a boot.
func takeStateFiles(t *testing.T, v *victim) {
	t.Helper()
	ours, theirs := v.node.Agent(0).StateDir(), v.lab.Node(2).Agent(0).StateDir()
	if err := errors.Join(os.RemoveAll(ours), os.CopyFS(ours, os.DirFS(theirs))); err != nil {
		t.Fatal(err)
	}
}
