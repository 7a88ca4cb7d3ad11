// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"regexp"
	"slices"
	"testing"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		before, after state
		foreign       string // "" for nothing
		want          string
	}{
		{nil, nil, "", ""},
		{state{"a", "b"}, state{"a", "b"}, "", ""},
		{state{"a", "b"}, state{"a"}, "", "- b\n"},
		{state{"b"}, state{"a", "b", "c"}, "", "+ a\n+ c\n"},
		{state{"a", "b", "b"}, state{"b", "c"}, "", "- a\n- b\n+ c\n"},
		{state{"a", "b"}, state{"b", "x1", "x2"}, "^x", "- a\n"},
	} {
		var foreign *regexp.Regexp
		if test.foreign != "" {
			foreign = regexp.MustCompile(test.foreign)
		}
		if got := diff(test.before.without(foreign), test.after.without(foreign)); got != test.want {
			t.Errorf("diff of %q and %q without %q = %q; want %q", test.before, test.after, test.foreign, got, test.want)
		}
	}
}

// TestVolatile wants two looks at one device, and at another just like it, to
// be the same.
func TestVolatile(t *testing.T) {
	t.Parallel()
	var a, b state
	a.add("link", links(`7: cni0: <UP> mtu 1450\    link/ether 02:00:00:00:00:01\    bridge gc_timer  213.37 fdb_n_learned 2 stp_state 0`))
	b.add("link", links(`9: cni0: <UP> mtu 1450\    link/ether 02:00:00:00:00:01\    bridge gc_timer    0.01 fdb_n_learned 0 stp_state 0`))
	want := "- link: cni0: <UP> mtu 1450\n- link: cni0: bridge stp_state 0\n- link: cni0: link/ether 02:00:00:00:00:01\n"
	if got := diff(a, b); got != "" {
		t.Errorf("diff of two looks = %q; want none", got)
	}
	if got := diff(slices.Sorted(slices.Values(a)), nil); got != want {
		t.Errorf("state = %q; want %q", got, want)
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	s := state{"ip: route dev vx0 vx0", "link: flannel.1: x", "link: flannel.10: y", "link: vx0: x", "link: vx01: y", "sysctl: conf/vx0/rp = 0"}
	want := state{"ip: route dev flannel.1 flannel.1", "link: flannel.10: y", "link: flannel.1: x", "link: vx01: y", "sysctl: conf/flannel.1/rp = 0"}
	if got := s.rename("vx0", "flannel.1"); !slices.Equal(got, want) || s[0] != "ip: route dev vx0 vx0" {
		t.Errorf("rename of %q = %q; want %q", s, got, want)
	}
}
