// SPDX-License-Identifier: Apache-2.0

package local

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

// given makes an address seem to be given that long ago.
func given(t *testing.T, s Store, name string, ago time.Duration) time.Time {
	t.Helper()
	at := time.Now().Add(-ago).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(s.dir, name), at, at); err != nil {
		t.Fatal(err)
	}
	return at
}

func TestSurveyTellsWhoseEachAddressIs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ours := Owner{"aaa", "eth0"}
	if _, err := s.Reserve(t.Context(), ours, ranges(t, "10.42.7.0/24", "fd00::/64")); err != nil {
		t.Fatal(err)
	}
	s.NotePod(addrs("10.42.7.2", "fd00::2"), "ci", "build-7")
	s.NotePod(addrs("10.42.7.2", "10.42.7.9"), "ci", "no/name")
	put(t, s, "10.42.7.9", "bbb\r\neth0")
	put(t, s, "10.42.7.10", "ccc") // of an old host-local
	put(t, s, "10.42.7.11", "")
	put(t, s, "10.42.7.12", "../x\neth0")
	put(t, s, "FD00::7", "ddd\neth0")
	put(t, s, "readme", "")
	oldest, newest := given(t, s, "10.42.7.2", time.Hour), given(t, s, "fd00::2", time.Minute)
	when9, when10 := given(t, s, "10.42.7.9", 0), given(t, s, "10.42.7.10", 0)
	v, err := s.Survey()
	if err != nil {
		t.Fatal(err)
	}
	want := []Holding{
		{Owner: ours, Addrs: addrs("10.42.7.2", "fd00::2"), Given: newest, Ours: true, Pod: "ci/build-7"},
		{Owner: Owner{"bbb", "eth0"}, Addrs: addrs("10.42.7.9"), Given: when9},
		{Owner: Owner{"ccc", ""}, Addrs: addrs("10.42.7.10"), Given: when10},
	}
	if !reflect.DeepEqual(v.Holdings, want) || !oldest.Before(newest) {
		t.Errorf("holdings = %+v\nwant %+v", v.Holdings, want)
	}
	var odd []string
	for _, o := range v.Odd {
		odd = append(odd, o.Name)
	}
	if want := []string{"10.42.7.11", "10.42.7.12", "FD00::7", "readme"}; !slices.Equal(odd, want) {
		t.Errorf("odd = %q; want %q", odd, want)
	}
	put(t, s, "10.42.7.13", "aaa\r\neth0") // by another plugin, for a sandbox of ours
	if v, _ := s.Survey(); v.Holdings[0].Ours {
		t.Error("a holding with an address of another plugin counts as ours")
	}
}

func TestSurveyOfNothing(t *testing.T) {
	t.Parallel()
	v, err := newStore(t).Survey()
	if err != nil || !reflect.DeepEqual(v, Survey{}) {
		t.Errorf("Survey = %+v, %v; want nothing", v, err)
	}
	all, err := Stores(filepath.Join(t.TempDir(), "absent"))
	if err != nil || all != nil {
		t.Errorf("Stores = %v, %v; want none", all, err)
	}
}

func TestStoresAreTheNetworks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b", "a", ".c"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := Stores(dir)
	if err != nil || len(all) != 2 || all[0].Network() != "a" || all[1].Network() != "b" {
		t.Errorf("Stores = %v, %v; want a and b", all, err)
	}
}

func TestReclaimOnlyWhatIsAsItWasSeen(t *testing.T) {
	t.Parallel()
	gone := func() (bool, error) { return true, nil }
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, s Store)
		gone      func() (bool, error)
		want      bool
	}{
		"gone": {func(*testing.T, Store) {}, gone, true},
		"freed and given to another": {func(t *testing.T, s Store) {
			put(t, s, "10.42.7.2", "bbb\r\neth0")
			given(t, s, "10.42.7.2", 2*time.Hour)
		}, gone, false},
		"given anew to the same": {func(t *testing.T, s Store) { given(t, s, "10.42.7.2", 0) }, gone, false},
		"freed":                  {func(t *testing.T, s Store) { os.Remove(filepath.Join(s.dir, "10.42.7.2")) }, gone, false},
		"there again":            {func(*testing.T, Store) {}, func() (bool, error) { return false, nil }, false},
	} {
		s, own := newStore(t), Owner{"aaa", "eth0"}
		if _, err := s.Reserve(t.Context(), own, ranges(t, "10.42.7.0/24", "fd00::/64")); err != nil {
			t.Fatal(err)
		}
		given(t, s, "10.42.7.2", time.Hour)
		given(t, s, "fd00::2", time.Hour)
		v, err := s.Survey()
		if err != nil {
			t.Fatal(err)
		}
		c.meanwhile(t, s)
		before, _ := s.used()
		got, err := s.Reclaim(t.Context(), v.Holdings[0], c.gone)
		after, _ := s.used()
		if got != c.want || err != nil || got == (len(after) == len(before)) || got && len(after) != 0 {
			t.Errorf("%s: Reclaim = %t, %v; want %t; %d addresses, then %d", name, got, err, c.want, len(before), len(after))
		}
		if got {
			if _, rests := s.freed()[v.Holdings[0].Addrs[0]]; !rests {
				t.Errorf("%s: the address does not rest", name)
			}
		}
	}
}

func TestNotesAreOfOnePlace(t *testing.T) {
	t.Parallel()
	here, err := Here()
	if err != nil || here == "" {
		t.Fatalf("Here = %q, %v", here, err)
	}
	run, a, b := t.TempDir(), Network{newStore(t), "/run/a.env"}, Network{newStore(t), "/run/b.env"}
	for range 2 {
		for _, err := range []error{a.Note(run, here), b.Note(run, here), a.Note(run, "4:1")} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(run, notesDir, "forged"), []byte(string(here)+"\n/etc/x\n/y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[Place]int{here: 2, "4:1": 1, "4:2": 0, "": 0} {
		if got, err := Noted(run, place); err != nil || len(got) != want {
			t.Errorf("Noted in %q = %v, %v; want %d", place, got, err, want)
		}
	}
	if got, err := Noted(filepath.Join(run, "absent"), here); err != nil || got != nil {
		t.Errorf("Noted without notes = %v, %v; want none", got, err)
	}
	if _, err := Remove(run, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(run); !os.IsNotExist(err) {
		t.Errorf("the run directory is there after Remove: %v", err)
	}
}

func FuzzParseNote(f *testing.F) {
	f.Add("4:1\n/var/lib/cni/networks/cbr0\n/run/flannel/subnet.env\n", "4:1")
	f.Add("\n/\n/\n", "")
	f.Add("4:1\n/a/../b\n/c\n", "4:1")
	f.Fuzz(func(t *testing.T, text, place string) {
		if n, ok := parseNote(text, Place(place)); ok && place+"\n"+n.dir+"\n"+n.SubnetFile+"\n" != text {
			t.Errorf("parseNote(%q, %q) = %+v; want what was noted", text, place, n)
		}
	})
}
