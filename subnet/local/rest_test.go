// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func reserve(t *testing.T, s Store, container, subnet string, wanted ...netip.Addr) string {
	t.Helper()
	got, err := s.Reserve(t.Context(), Owner{container, "eth0"}, ranges(t, subnet), wanted...)
	if err != nil {
		t.Fatal(err)
	}
	return got[0].String()
}

// What was freed last is given last, though the round comes to it first.
func TestFreedAddressRests(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var all []string
	for i := range 5 {
		all = append(all, reserve(t, s, fmt.Sprintf("c%d", i), "10.42.7.0/29"))
	}
	for _, i := range []int{3, 1} {
		if err := s.Release(t.Context(), Owner{fmt.Sprintf("c%d", i), "eth0"}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "percale.freed", "torn\n"+all[3]+" "+stamp(-10*time.Second)+"\n"+all[1]+" "+stamp(-5*time.Second)+"\n"+all[0])
	if got := reserve(t, s, "new", "10.42.7.0/29"); got != all[3] {
		t.Errorf("Reserve when all that is free rests = %s; want %s, which was freed first", got, all[3])
	}
	if err := s.Release(t.Context(), Owner{"new", "eth0"}); err != nil {
		t.Fatal(err)
	}
	put(t, s, "percale.freed", all[3]+" "+stamp(0)+"\n"+all[1]+" "+stamp(-CoolDown)+"\n")
	put(t, s, "last_reserved_ip.0", all[2])
	if got := reserve(t, s, "newer", "10.42.7.0/29"); got != all[1] {
		t.Errorf("Reserve = %s; want %s, which has rested", got, all[1])
	}
	put(t, s, "percale.freed", all[3]+" "+stamp(time.Hour)+"\n")
	if left := s.rest(time.Now())(netip.MustParseAddr(all[3])); left != 0 {
		t.Errorf("rest of an address freed in an hour = %s; want none", left)
	}
}

func stamp(after time.Duration) string { return fmt.Sprint(time.Now().Add(after).Unix()) }

// However many addresses are freed, the list stays short, and knows the newest.
func TestListOfFreedIsBounded(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	put(t, s, "lock", "")
	now := time.Now()
	a := netip.MustParseAddr("fd00:7::2")
	for range 10000 {
		a = a.Next()
		s.noteFreed([]netip.Addr{a}, now)
	}
	fi, err := os.Stat(s.restPath())
	if err != nil || fi.Size() > restSize+100 {
		t.Errorf("list = %v, %v; want at most %d bytes", fi.Size(), err, restSize)
	}
	rest := s.rest(now)
	for i := 0; i < 400; i, a = i+1, a.Prev() {
		if rest(a) <= 0 {
			t.Fatalf("%s, freed as one of the last %d, does not rest", a, i+1)
		}
	}
}

func TestOlderBoot(t *testing.T) {
	t.Parallel()
	now := time.Now()
	this, err := thisBoot(now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, boot string // content of percale.boot
		made       time.Time
		freed      bool
	}{
		{"another boot, made before", "other", this.began.Add(-time.Hour), true},
		{"another boot, made after the clock", "other", now.Add(24 * time.Hour), true},
		{"another boot, made in this one", "other", this.began.Add(now.Sub(this.began) / 2), false},
		{"this boot, the clock was set", this.id, this.began.Add(-time.Hour), false},
		{"no boot known: host-local's", "", this.began.Add(-time.Hour), false},
	} {
		s := newStore(t)
		put(t, s, "10.42.7.2", "aaa\r\neth0")
		if tt.boot != "" {
			put(t, s, "percale.boot", tt.boot)
		}
		if err := os.Chtimes(filepath.Join(s.dir, "10.42.7.2"), tt.made, tt.made); err != nil {
			t.Fatal(err)
		}
		reserve(t, s, "new", "10.42.7.0/24")
		if got := slices.Contains(names(t, s), "10.42.7.2") && content(t, s, "10.42.7.2") == "aaa\r\neth0"; got == tt.freed {
			t.Errorf("%s: the entry is there: %v; want freed: %v", tt.name, got, tt.freed)
		}
		if got := content(t, s, "percale.boot"); got != this.id {
			t.Errorf("%s: boot = %q; want this one", tt.name, got)
		}
	}
}

// The index is no more than a shortcut: an owner's addresses are found without
// it, and those that it names wrongly stay.
func TestIndex(t *testing.T) {
	t.Parallel()
	own := Owner{"abc", "eth0"}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, s Store)
		want   []netip.Addr
	}{
		{"as it is", func(*testing.T, Store) {}, addrs("10.42.7.2")},
		{"reserved twice: the first call was killed", func(t *testing.T, s Store) { reserve(t, s, "abc", "10.42.7.0/24") }, addrs("10.42.7.2", "10.42.7.3")},
		{"no index", func(t *testing.T, s Store) {
			if err := os.RemoveAll(filepath.Join(s.dir, "percale.owners")); err != nil {
				t.Fatal(err)
			}
		}, addrs("10.42.7.2")},
		{"taken over by another", func(t *testing.T, s Store) { put(t, s, "10.42.7.2", "def\r\neth0") }, nil},
		{"somebody was killed before he took an address", func(t *testing.T, s Store) {
			if _, err := s.index(own, netip.MustParseAddr("10.42.7.9")); err != nil {
				t.Fatal(err)
			}
		}, addrs("10.42.7.2")},
		{"of before the first release", func(t *testing.T, s Store) { oldIndex(t, s, own, "10.42.7.2\n") }, addrs("10.42.7.2")},
		{"the same, torn", func(t *testing.T, s Store) { oldIndex(t, s, own, "10.42.7.2\n10.4") }, addrs("10.42.7.2")},
		{"of before and after", func(t *testing.T, s Store) {
			oldIndex(t, s, own, "10.42.7.2\n")
			reserve(t, s, "abc", "10.42.7.0/24")
		}, addrs("10.42.7.2", "10.42.7.3")},
	} {
		s := newStore(t)
		reserve(t, s, "abc", "10.42.7.0/24")
		tt.change(t, s)
		if got, err := s.Owned(own); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: Owned = %v, %v; want %v", tt.name, got, err, tt.want)
		}
		if err := s.Release(t.Context(), own); err != nil {
			t.Errorf("%s: Release = %v", tt.name, err)
		}
		if got, err := s.Owned(own); err != nil || len(got) > 0 {
			t.Errorf("%s: Owned after Release = %v, %v; want none", tt.name, got, err)
		}
		if left := s.entryNames(); len(left) > 0 && tt.want != nil {
			t.Errorf("%s: left in the index: %v; want nothing", tt.name, left)
		}
	}
}

func TestIndexAfterReboot(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	reserve(t, s, "before", "10.42.7.0/24")
	put(t, s, "percale.boot", "another")
	given(t, s, "10.42.7.2", 100*365*24*time.Hour)
	reserve(t, s, "after", "10.42.7.0/24")
	if got, want := s.entryNames(), []string{filepath.Base(s.entryPath(Owner{"after", "eth0"}, netip.MustParseAddr("10.42.7.3")))}; !slices.Equal(got, want) {
		t.Errorf("index = %v; want %v", got, want)
	}
}

// oldIndex makes of the index what it was before the first release.
func oldIndex(t *testing.T, s Store, own Owner, text string) {
	t.Helper()
	if err := os.RemoveAll(s.indexDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.indexDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, s, filepath.Join("percale.owners", indexKey(own)), text)
}

func TestSurveyReadsTheIndexOfBeforeTheFirstRelease(t *testing.T) {
	t.Parallel()
	s, own := newStore(t), Owner{"abc", "eth0"}
	reserve(t, s, "abc", "10.42.7.0/24")
	oldIndex(t, s, own, "10.42.7.2\npod ci/build-7\n")
	if v, err := s.Survey(); err != nil || len(v.Holdings) != 1 || !v.Holdings[0].Ours || v.Holdings[0].Pod != "ci/build-7" {
		t.Errorf("Survey = %+v, %v; want one holding, ours, of ci/build-7", v, err)
	}
}

func TestReserveWanted(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	reserve(t, s, "aaa", "10.42.7.0/24")
	if got := reserve(t, s, "bbb", "10.42.7.0/24", netip.MustParseAddr("10.42.7.77")); got != "10.42.7.77" {
		t.Errorf("Reserve of 10.42.7.77 = %s", got)
	}
	_, err := s.Reserve(t.Context(), Owner{"ccc", "eth0"}, ranges(t, "10.42.7.0/24"), netip.MustParseAddr("10.42.7.77"))
	if err == nil || !strings.Contains(err.Error(), "10.42.7.77 is in use") {
		t.Errorf("Reserve of 10.42.7.77 again = %v; want an error", err)
	}
	if got := reserve(t, s, "ccc", "10.42.7.0/24"); got != "10.42.7.3" {
		t.Errorf("Reserve after a wanted one = %s; want the round to go on with 10.42.7.3", got)
	}
}

func FuzzParseFreed(f *testing.F) {
	f.Add([]byte("10.42.7.2 1700000000\nfd00::2 1\n"))
	f.Add([]byte("7.2 17\n10.42.7.2\n10.42.7.2 x\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for a := range parseFreed(b) {
			if !a.IsValid() {
				t.Errorf("parseFreed(%q) has an invalid address", b)
			}
		}
	})
}
