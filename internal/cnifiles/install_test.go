// SPDX-License-Identifier: Apache-2.0

package cnifiles

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// programs makes a directory of plugins, each saying who it is.
func programs(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		put(t, filepath.Join(dir, name), "#!/bin/sh\necho new "+name+"\n")
	}
	return dir
}

func TestInstall(t *testing.T) {
	t.Parallel()
	from, dir := programs(t, plugin, "loopback", "portmap"), filepath.Join(t.TempDir(), "opt", "bin")
	elsewhere := put(t, filepath.Join(t.TempDir(), "multicall"), "others'")
	err := errors.Join(os.MkdirAll(dir, 0o755), os.Symlink(elsewhere, filepath.Join(dir, "loopback")),
		os.WriteFile(filepath.Join(dir, "portmap"), []byte("old"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Install(from, dir, &out); err != nil {
		t.Fatal(err)
	}
	want := "installed " + dir + "/percale-cni\n" +
		"bandwidth is not in " + from + "; pods whose CNI configuration names it fail: install it from the node's package " +
		"containernetworking-plugins, or take \"bandwidth\" out of the configuration\n" +
		"installed " + dir + "/loopback\ninstalled " + dir + "/portmap\n"
	if out.String() != want {
		t.Errorf("Install says\n%swant\n%s", out.String(), want)
	}
	for _, name := range []string{plugin, "loopback", "portmap"} {
		if b, err := exec.Command(filepath.Join(dir, name)).Output(); err != nil || string(b) != "new "+name+"\n" {
			t.Errorf("%s says %q, %v; want itself", name, b, err)
		}
	}
	wantText(t, elsewhere, "others'")
	out.Reset()
	if err := Install(from, dir, &out); err != nil || strings.Contains(out.String(), "installed /") || strings.Count(out.String(), "already") != 3 {
		t.Errorf("Install again = %v, says\n%s\nwant nothing done", err, out.String())
	}
}

// A plugin that runs goes on, though its file is replaced.
func TestInstallOverARunningPlugin(t *testing.T) {
	t.Parallel()
	dir, from := t.TempDir(), programs(t, plugin)
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, plugin), b, 0o755); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(filepath.Join(dir, plugin))
	in, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	run.Stdout = &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	err = Install(from, dir, new(strings.Builder))
	_, werr := in.Write([]byte("still here"))
	if err := errors.Join(err, werr, in.Close(), run.Wait()); err != nil || out.String() != "still here" {
		t.Errorf("the running plugin says %q, %v; want it to go on", out.String(), err)
	}
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	put(t, filepath.Join(empty, plugin), "")
	taken := t.TempDir()
	if err := os.MkdirAll(filepath.Join(taken, plugin, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	full := tmpfs(t, "size=16k,nr_inodes=2")
	put(t, filepath.Join(full, "x"), "x")
	for _, tt := range []struct{ from, dir, want string }{
		{t.TempDir(), t.TempDir(), "stand beside percaled"},
		{folder, t.TempDir(), "no program"},
		{empty, t.TempDir(), "no program"},
		{programs(t, plugin), taken, "file exists"},
		{programs(t, plugin), put(t, filepath.Join(t.TempDir(), "file"), ""), "not a directory"},
		{programs(t, plugin), full, "df -i show"},
	} {
		var out strings.Builder
		if err := Install(tt.from, tt.dir, &out); err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
			t.Errorf("Install(%s, %s) = %v, says %q; want %q", tt.from, tt.dir, err, out.String(), tt.want)
		}
	}
}

// Several at once, as two pods of an update, end as one does.
func TestInstallAtOnce(t *testing.T) {
	t.Parallel()
	from, dir := programs(t, append(chained[:], plugin)...), t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = Install(from, dir, new(strings.Builder)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if all := names(t, dir); !slices.Equal(all, []string{"bandwidth", "loopback", "percale-cni", "portmap"}) {
		t.Errorf("directory has %q", all)
	}
}

// Whoever keeps the directory locked, which any user can, holds up neither the
// agent's loop nor its end for ever.
func TestDirectoryThatStaysLocked(t *testing.T) {
	t.Parallel()
	from, dir := programs(t, plugin), t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		err := Install(from, dir, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), "lsof "+dir) {
			t.Errorf("Install = %v; want who to look for", err)
		}
		path := put(t, filepath.Join(dir, plugin), "#!/bin/sh\necho new "+plugin+"\n")
		if err := errors.Join(os.Chmod(path, 0o755), Install(from, dir, new(strings.Builder))); err != nil {
			t.Errorf("Install = %v where there is nothing to do", err)
		}
	})
}
