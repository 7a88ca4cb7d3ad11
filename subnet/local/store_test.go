// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/subnet/ipam"
)

func newStore(t *testing.T) Store {
	t.Helper()
	s, err := NewStore(t.TempDir(), "cbr0")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ranges(t *testing.T, subnets ...string) []ipam.Range {
	t.Helper()
	var rs []ipam.Range
	for _, p := range prefixes(subnets...) {
		r, err := ipam.NewRange(p)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func addrs(s ...string) []netip.Addr {
	var a []netip.Addr
	for _, s := range s {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

// put writes a file as host-local would.
func put(t *testing.T, s Store, name, content string) {
	t.Helper()
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, s Store, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, s Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var n []string
	for _, e := range entries {
		n = append(n, e.Name())
	}
	return n
}

func TestReserveAsHostLocalDoes(t *testing.T) {
	t.Parallel()
	s, own := newStore(t), Owner{"abc", "eth0"}
	got, err := s.Reserve(t.Context(), own, ranges(t, "10.42.7.0/24", "fd00:7::/64"))
	if want := addrs("10.42.7.2", "fd00:7::2"); err != nil || !slices.Equal(got, want) {
		t.Fatalf("Reserve = %v, %v; want %v", got, err, want)
	}
	for name, want := range map[string]string{
		"10.42.7.2":          "abc\r\neth0",
		"fd00:7::2":          "abc\r\neth0",
		"last_reserved_ip.0": "10.42.7.2",
		"last_reserved_ip.1": "fd00:7::2",
		"lock":               "",
	} {
		if got := content(t, s, name); got != want {
			t.Errorf("%s holds %q; want %q", name, got, want)
		}
	}
	if got := names(t, s); len(got) != 7 { // and the boot, and the owners
		t.Errorf("files = %v; want seven", got)
	}
	if got, err := s.Owned(own); err != nil || !slices.Equal(got, addrs("10.42.7.2", "fd00:7::2")) {
		t.Errorf("Owned = %v, %v; want both addresses", got, err)
	}
	if err := errors.Join(s.Release(t.Context(), own), s.Release(t.Context(), own)); err != nil {
		t.Errorf("Release twice = %v; want success", err)
	}
	if got, want := names(t, s), []string{"last_reserved_ip.0", "last_reserved_ip.1", "lock", "percale.boot", "percale.freed", "percale.owners"}; !slices.Equal(got, want) {
		t.Errorf("files after Release = %v; want %v", got, want)
	}
	if got, err := s.Reserve(t.Context(), own, ranges(t, "10.42.7.0/24")); err != nil || got[0].String() != "10.42.7.3" {
		t.Errorf("Reserve after Release = %v, %v; want the next one, 10.42.7.3", got, err)
	}
}

func TestTakeOverFromHostLocal(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	put(t, s, "10.42.7.2", "aaa\r\neth0")
	put(t, s, "10.42.7.3", "bbb\r\neth0")
	put(t, s, "10.42.7.4", "bbb\r\nnet1")
	put(t, s, "10.42.7.5", "ccc") // as versions before 0.8 wrote it
	put(t, s, "10.42.7.6", "ddd\n")
	put(t, s, "10.42.7.8", "") // its maker was killed
	put(t, s, "10.42.9.9", "eee\r\neth0")
	put(t, s, "last_reserved_ip.0", "10.42.7.6")
	put(t, s, "lock", "")
	put(t, s, "010.42.7.3", "bbb\r\neth0") // no address as we write it
	put(t, s, "README", "bbb\r\neth0")

	got, err := s.Reserve(t.Context(), Owner{"new", "eth0"}, ranges(t, "10.42.7.0/24"))
	if err != nil || got[0].String() != "10.42.7.7" {
		t.Errorf("Reserve = %v, %v; want 10.42.7.7", got, err)
	}
	got, err = s.Reserve(t.Context(), Owner{"new2", "eth0"}, ranges(t, "10.42.7.0/24"))
	if err != nil || got[0].String() != "10.42.7.9" {
		t.Errorf("Reserve = %v, %v; want 10.42.7.9, since .8 is taken", got, err)
	}
	for _, tt := range []struct {
		own  Owner
		want []netip.Addr
	}{
		{Owner{"bbb", "eth0"}, addrs("10.42.7.3")},
		{Owner{"ccc", "eth0"}, addrs("10.42.7.5")},
		{Owner{"ddd", "eth0"}, addrs("10.42.7.6")},
		{Owner{"eee", "eth0"}, addrs("10.42.9.9")},
		{Owner{"nobody", "eth0"}, nil},
	} {
		if got, err := s.Owned(tt.own); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Owned(%v) = %v, %v; want %v", tt.own, got, err, tt.want)
		}
		if err := s.Release(t.Context(), tt.own); err != nil {
			t.Errorf("Release(%v) = %v", tt.own, err)
		}
	}
	entries, err := s.Entries()
	var left []string
	for _, e := range entries {
		left = append(left, e.Addr.String()+" "+e.Owner.Container+" "+e.Owner.Ifname)
	}
	want := []string{"10.42.7.2 aaa eth0", "10.42.7.4 bbb net1", "10.42.7.7 new eth0", "10.42.7.8  ", "10.42.7.9 new2 eth0"}
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("Entries = %q, %v; want %q", left, err, want)
	}
}

func TestReserveIsAllOrNone(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	put(t, s, "fd00::2", "aaa\r\neth0")
	put(t, s, "fd00::3", "bbb\r\neth0")
	_, err := s.Reserve(t.Context(), Owner{"new", "eth0"}, ranges(t, "10.42.7.0/24", "fd00::/126"))
	var full *ipam.FullError
	if !errors.As(err, &full) || full.Subnet.String() != "fd00::/126" || full.Used != 2 {
		t.Errorf("Reserve = %v; want fd00::/126 full", err)
	}
	if got, want := names(t, s), []string{"fd00::2", "fd00::3", "lock", "percale.boot"}; !slices.Equal(got, want) {
		t.Errorf("files = %v; want %v", got, want)
	}
	// An address that somebody takes without the lock undoes the others.
	taken, err := s.create(addrs("10.42.7.2", "fd00::3"), Owner{"new", "eth0"})
	if err != nil || taken.String() != "fd00::3" {
		t.Errorf("create = %s, %v; want fd00::3 taken", taken, err)
	}
	if got, want := names(t, s), []string{"fd00::2", "fd00::3", "lock", "percale.boot", "percale.owners"}; !slices.Equal(got, want) || len(s.entryNames()) > 0 {
		t.Errorf("files = %v, index %v; want %v, nothing", got, s.entryNames(), want)
	}
}

func TestReserveAtOnce(t *testing.T) {
	t.Parallel()
	s, rs := newStore(t), ranges(t, "10.42.7.0/26")
	const n = 61 // as many as there are
	got := make([][]netip.Addr, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			got[i], errs[i] = s.Reserve(t.Context(), Owner{fmt.Sprintf("c%d", i), "eth0"}, rs)
		})
	}
	wg.Wait()
	seen := map[netip.Addr]bool{}
	for i := range n {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		seen[got[i][0]] = true
	}
	if len(seen) != n {
		t.Errorf("%d reservations gave %d addresses; want as many", n, len(seen))
	}
	if _, err := s.Reserve(t.Context(), Owner{"more", "eth0"}, rs); err == nil {
		t.Error("Reserve when all are used succeeded; want an error")
	}
	for i := range n {
		wg.Go(func() { errs[i] = s.Release(t.Context(), Owner{fmt.Sprintf("c%d", i), "eth0"}) })
	}
	wg.Wait()
	if entries, err := s.Entries(); errors.Join(append(errs, err)...) != nil || len(entries) != 0 {
		t.Errorf("entries after Release = %v, %v; want none", entries, errs)
	}
}

func TestLockHeldByAnother(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	put(t, s, "lock", "")
	f, err := os.Open(filepath.Join(s.dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = s.Reserve(ctx, Owner{"abc", "eth0"}, ranges(t, "10.42.7.0/24"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), f.Name()) {
		t.Errorf("Reserve while locked = %v; want an error that names the lock", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Reserve(t.Context(), Owner{"abc", "eth0"}, ranges(t, "10.42.7.0/24"))
		done <- err
	}()
	f.Close()
	if err := <-done; err != nil {
		t.Errorf("Reserve after unlock = %v; want success", err)
	}
}

func TestStoreRefusesBadNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "..", ".", "../x", "a/b", "/etc", "a\x00b", "a b", "-a", "é", strings.Repeat("a", 256)} {
		if _, err := NewStore(t.TempDir(), name); err == nil {
			t.Errorf("NewStore(%q) succeeded; want an error", name)
		}
	}
	if _, err := NewStore("relative/dir", "cbr0"); err == nil {
		t.Error("NewStore in a relative directory succeeded; want an error")
	}
	s := newStore(t)
	for _, own := range []Owner{
		{}, {"abc", ""}, {"", "eth0"}, {"../abc", "eth0"}, {"abc\r\neth1", "eth0"}, {"abc", "eth0\r\n"}, {"abc", "a/b"},
		{"abc", ".."}, {"abc", strings.Repeat("e", 16)}, {strings.Repeat("a", 4097), "eth0"},
	} {
		if a, err := s.Reserve(t.Context(), own, ranges(t, "10.42.7.0/24")); err == nil {
			t.Errorf("Reserve for %.40q = %v; want an error", own, a)
		}
		if err := s.Release(t.Context(), own); err == nil {
			t.Errorf("Release of %.40q succeeded; want an error", own)
		}
	}
}

func TestReserveWhereNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := NewStore(file, "cbr0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reserve(t.Context(), Owner{"abc", "eth0"}, ranges(t, "10.42.7.0/24")); err == nil {
		t.Error("Reserve below a file succeeded; want an error")
	}
}

func TestCreateInPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "10.0.0.1")
	if err := createInPlace(path, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if err := createInPlace(path, []byte("def")); !errors.Is(err, os.ErrExist) {
		t.Errorf("createInPlace twice = %v; want os.ErrExist", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "abc" {
		t.Errorf("file = %q, %v; want abc", b, err)
	}
}

func FuzzParseOwner(f *testing.F) {
	f.Add([]byte("abc\r\neth0"))
	f.Add([]byte("abc"))
	f.Add([]byte("\n\n\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		own := parseOwner(b)
		if own.Check() != nil {
			return
		}
		if again := parseOwner([]byte(own.Container + "\r\n" + own.Ifname)); again != own {
			t.Errorf("parseOwner(%q) = %q; written and parsed again %q", b, own, again)
		}
	})
}
