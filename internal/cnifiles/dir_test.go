// SPDX-License-Identifier: Apache-2.0

package cnifiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// put writes a file of a test.
func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != want {
		t.Errorf("%s = %q, %v; want %q", path, b, err, want)
	}
}

// names lists a directory.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Whatever stands under our name, the list is put there, and nothing is touched
// when it is there already.
func TestWrite(t *testing.T) {
	t.Parallel()
	elsewhere := put(t, filepath.Join(t.TempDir(), "elsewhere"), "others'")
	for what, spoil := range map[string]func(path string) error{
		"nothing":   func(path string) error { return nil },
		"changed":   func(path string) error { return os.WriteFile(path, []byte("{}"), 0o644) },
		"longer":    func(path string) error { return os.WriteFile(path, []byte(list+" "), 0o644) },
		"unread":    func(path string) error { return errors.Join(os.WriteFile(path, []byte(list), 0o600)) },
		"link":      func(path string) error { return os.Symlink(elsewhere, path) },
		"no target": func(path string) error { return os.Symlink("/nowhere", path) },
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o644) },
		"half": func(path string) error {
			return os.WriteFile(filepath.Dir(path)+"/."+Name+".percale-new", []byte("{"), 0o600)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir, template := filepath.Join(t.TempDir(), "net.d"), put(t, filepath.Join(t.TempDir(), "template"), list)
			path := filepath.Join(dir, Name)
			if err := errors.Join(os.Mkdir(dir, 0o700), spoil(path)); err != nil {
				t.Fatal(err)
			}
			if wrote, err := Dir(dir).Write(template); !wrote || err != nil {
				t.Errorf("Write = %v, %v; want a new file", wrote, err)
			}
			wantText(t, path, list)
			if fi, err := os.Lstat(path); err != nil || fi.Mode() != 0o644 {
				t.Errorf("mode = %v, %v; want a file that all may read", fi.Mode(), err)
			}
			before, _ := os.Stat(path)
			if wrote, err := Dir(dir).Write(template); wrote || err != nil {
				t.Errorf("Write again = %v, %v; want nothing written", wrote, err)
			}
			if after, _ := os.Stat(path); !os.SameFile(before, after) || before.ModTime() != after.ModTime() {
				t.Error("the file was touched though it was right")
			}
			if all := names(t, dir); !slices.Equal(all, []string{Name}) {
				t.Errorf("directory has %q; want our file alone", all)
			}
			wantText(t, elsewhere, "others'")
		})
	}
}

func TestWriteMakesTheDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cni", "net.d")
	if rivals, err := Dir(dir).Rivals(); err != nil || rivals != nil {
		t.Errorf("Rivals without a directory = %v, %v; want none", rivals, err)
	}
	if removed, left, err := Dir(dir).Remove(); err != nil || removed != nil || left != nil {
		t.Errorf("Remove without a directory = %q, %q, %v; want nothing", removed, left, err)
	}
	if wrote, err := Dir(dir).Write(put(t, filepath.Join(t.TempDir(), "template"), list)); !wrote || err != nil {
		t.Fatalf("Write = %v, %v", wrote, err)
	}
	wantText(t, filepath.Join(dir, Name), list)
}

// A bad template leaves what stands there.
func TestBadTemplate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, Name), list)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ template, want string }{
		{"/nowhere/conflist", "no such file"},
		{t.TempDir(), "no regular file"},
		{pipe, "no regular file"},
		{put(t, filepath.Join(t.TempDir(), "template"), "{"), "want a CNI configuration list"},
	} {
		if wrote, err := Dir(dir).Write(tt.template); wrote || err == nil || !strings.Contains(err.Error(), tt.want) ||
			!strings.Contains(err.Error(), tt.template) {
			t.Errorf("Write(%s) = %v, %v; want %q", tt.template, wrote, err, tt.want)
		}
	}
	wantText(t, filepath.Join(dir, Name), list)
}

// tmpfs mounts a small file system of a test.
func tmpfs(t *testing.T, options string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mount a tmpfs: %v: needs CAP_SYS_ADMIN", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// On a disk that is full or cannot be written, the old list stays, nothing half
// is left, and the error says what helps.
func TestBadDisk(t *testing.T) {
	t.Parallel()
	const old = `{"old":true}`
	long := strings.Replace(list, "cbr0", strings.Repeat("x", 100<<10), 1)
	for _, tt := range []struct {
		what, options, text, want string
		remount                   uintptr
	}{
		{"full", "size=64k", long, "df -i show", 0},
		{"no inodes", "size=64k,nr_inodes=2", list, "df -i show", 0},
		{"read-only", "size=64k", list, "mount it for writing", unix.MS_RDONLY},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			dir := tmpfs(t, tt.options)
			put(t, filepath.Join(dir, Name), old)
			template := put(t, filepath.Join(t.TempDir(), "template"), tt.text)
			remount := func(flags uintptr, options string) {
				t.Helper()
				if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, options); err != nil {
					t.Fatal(err)
				}
			}
			if tt.remount != 0 {
				remount(tt.remount, "")
			}
			if wrote, err := Dir(dir).Write(template); wrote || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Write = %v, %v; want %q", wrote, err, tt.want)
			}
			wantText(t, filepath.Join(dir, Name), old)
			if all := names(t, dir); !slices.Equal(all, []string{Name}) {
				t.Errorf("directory has %q; want the old file alone", all)
			}
			remount(0, "size=1m,nr_inodes=16")
			if wrote, err := Dir(dir).Write(template); !wrote || err != nil {
				t.Errorf("Write with room = %v, %v; want a new file", wrote, err)
			}
			wantText(t, filepath.Join(dir, Name), tt.text)
		})
	}
}

func TestRivals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"00-multus.conf":          `{"type":"multus-shim","name":"multus"}`, // calls us
		"05-bad.conflist":         `{`,
		"10-calico.conflist":      `{"name":"k8s","plugins":[{"type":"calico"},{"type":"bandwidth"}]}`,
		"10-flannel.conflist":     strings.Replace(list, "percale-cni", "flannel", 1),
		"10-old.conflist.off":     `{}`, // no runtime reads it
		"10-percale.conflist":     list,
		"20-later.conf":           `{"type":"bridge"}`,
		"09-one.json":             `{"type":"ptp"}`,
		"05-big.conf":             strings.Repeat(" ", maxConf+1),
		"10-set.conflist" + aside: `{}`,
	} {
		put(t, filepath.Join(dir, name), text)
	}
	err := errors.Join(os.Mkdir(filepath.Join(dir, "01-folder.conf"), 0o755), os.Symlink("/nowhere", filepath.Join(dir, "02-link.conf")),
		unix.Mkfifo(filepath.Join(dir, "03-pipe.conf"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	rivals, err := Dir(dir).Rivals()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rivals {
		got = append(got, r.String())
	}
	want := []string{
		`"03-pipe.conf" comes before 10-percale.conflist, so it cannot be read, at which some runtimes stop: it is no regular file`,
		`"05-bad.conflist" comes before 10-percale.conflist, so it cannot be read, at which some runtimes stop: error parsing configuration list: unexpected end of JSON input`,
		`"05-big.conf" comes before 10-percale.conflist, so it cannot be read, at which some runtimes stop: it has more than 256 KiB`,
		`"09-one.json" comes before 10-percale.conflist, so its plugins wire new pods: ptp`,
		`"10-calico.conflist" comes before 10-percale.conflist, so its plugins wire new pods: calico, bandwidth`,
		`"10-flannel.conflist" comes before 10-percale.conflist, so its plugins wire new pods: flannel, portmap, with addresses of this node's subnet`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("Rivals:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := Dir(dir).SetAside(rivals); err != nil {
		t.Fatal(err)
	}
	if left, err := Dir(dir).Rivals(); err != nil || left != nil {
		t.Errorf("Rivals after SetAside = %v, %v; want none", left, err)
	}
	if err := Dir(dir).SetAside(rivals); err != nil {
		t.Errorf("SetAside of what is gone = %v; want success", err)
	}
	removed, set, err := Dir(dir).Remove()
	if err != nil || !slices.Equal(removed, []string{filepath.Join(dir, Name)}) || len(set) != len(rivals)+1 ||
		WasCalled(set[0]) != filepath.Join(dir, "03-pipe.conf") {
		t.Errorf("Remove = %q, %q, %v; want our list, and %d that were set aside", removed, set, err, len(rivals)+1)
	}
	if _, err := os.Stat(filepath.Join(dir, "20-later.conf")); errors.Is(err, fs.ErrNotExist) {
		t.Error("a list that comes after ours was removed")
	}
}

// The remedy is a command that works, whatever the name.
func TestRemedy(t *testing.T) {
	t.Parallel()
	got := Rival{Name: "10 x.conf"}.Remedy("/etc/cni/net.d")
	if want := `mv "/etc/cni/net.d/10 x.conf" "/etc/cni/net.d/10 x.conf.percale-off"`; got != want {
		t.Errorf("Remedy = %s; want %s", got, want)
	}
}
