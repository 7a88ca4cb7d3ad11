// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWatchFile changes a file in each way, and its neighbor, and then takes
// its directory away.
func TestWatchFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "flannel")
	path, other := filepath.Join(dir, "subnet.env"), filepath.Join(dir, "other.env")
	kicks, done := make(chan struct{}, 100), make(chan error, 1)
	go func() { done <- watchFile(t.Context(), path, func() { kicks <- struct{}{} }) }()
	await := func(what string) {
		t.Helper()
		select {
		case <-kicks:
		case err := <-done:
			if done <- err; len(kicks) == 0 { // else it kicked before it ended
				t.Fatalf("%s: watchFile = %v", what, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: no kick", what)
		}
		for len(kicks) > 0 { // one change may be told in several events
			<-kicks
		}
	}
	await("begin")
	write := func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"new", func() error { return write(path) }},
		{"truncated", func() error { return os.Truncate(path, 0) }},
		{"deleted", func() error { return os.Remove(path) }},
		{"moved there", func() error {
			if err := write(other); err != nil {
				return err
			}
			return os.Rename(other, path)
		}},
		{"moved away", func() error { return os.Rename(path, other) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		await(step.name)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	await("directory removed")
	if err := <-done; err == nil {
		t.Error("watchFile without a directory ended without an error")
	}
}

func TestWatchFileEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	if err := watchFile(ctx, filepath.Join(t.TempDir(), "subnet.env"), cancel); err != nil {
		t.Errorf("watchFile = %v; want nil when its context ends", err)
	}
}

func FuzzFileEvents(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 'a', 0, 0, 0}, "a")
	f.Add([]byte{1, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}, "")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if _, gone := fileEvents(b, name); gone && len(b) < 16 {
			t.Errorf("fileEvents(%v) reads an event from less than one", b)
		}
	})
}
