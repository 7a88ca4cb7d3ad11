// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/percale-net/percale/subnet"
)

func TestOwnedIsKept(t *testing.T) {
	dir := t.TempDir()
	if b, err := LoadOwned(dir); b != nil || err != nil {
		t.Errorf("LoadOwned of nothing = %q, %v; want nothing", b, err)
	}
	for _, text := range []string{"one", "another"} {
		if err := SaveOwned(dir, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := LoadOwned(dir); string(b) != text || err != nil {
			t.Errorf("LoadOwned = %q, %v; want %q", b, err, text)
		}
	}
	if err := os.WriteFile(OwnedPath(dir), bytes.Repeat([]byte("x"), maxOwned+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := LoadOwned(dir); err == nil {
		t.Errorf("LoadOwned of too much = %d bytes; want an error", len(b))
	}
}

func TestRemoveTakesWhatAnAgentLeft(t *testing.T) {
	run, state := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "state")
	write := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := writeFile(path, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := SaveLease(state, subnet.Lease{Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	if err := SaveOwned(run, nil); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(run, "waiting"), filepath.Join(run, "lock"), filepath.Join(run, ".owned.json.123"), filepath.Join(state, ".lease.json.4"))
	foreign := filepath.Join(state, "lease.json.bak")
	write(foreign)
	removed, err := Remove(run, state)
	slices.Sort(removed)
	want := []string{
		filepath.Join(run, ".owned.json.123"), filepath.Join(run, "owned.json"), filepath.Join(run, "waiting"),
		filepath.Join(state, ".lease.json.4"), filepath.Join(state, "lease.json"),
	}
	if slices.Sort(want); err != nil || !slices.Equal(removed, want) {
		t.Errorf("Remove = %q, %v; want %q", removed, err, want)
	}
	if _, err := os.Stat(run); !os.IsNotExist(err) {
		t.Errorf("run directory: %v; want it to be gone", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file of others: %v; want it to stay", err)
	}
	if removed, err := Remove(run, state); len(removed) > 0 || err != nil {
		t.Errorf("Remove again = %q, %v; want nothing", removed, err)
	}
}
