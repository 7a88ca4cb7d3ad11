// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/percale-net/percale/network"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	wish := func(prefixes ...string) network.State {
		s := network.NewState()
		for _, p := range prefixes {
			a := network.Address{Link: "far0", Prefix: netip.MustParsePrefix(p)}
			s.Addresses[a] = a
		}
		return s
	}
	far := Scope{Devices: []string{"far0"}}
	for _, prefixes := range [][]string{
		{"10.1.2.1/24", "fd00::1/64"},
		{"10.1.2.1/24", "fd00::1/64"},
		{"10.1.2.2/24", "fd00::2/64"}, // the old one goes with the new one, unless that is put back
		{"10.1.2.2/24", "10.1.2.3/24", "10.1.2.4/24"},
		{"10.1.2.3/24", "10.1.2.4/24"},
		{"10.1.2.3/16", "10.1.2.4/32", "fd00::1/128"},
		{},
	} {
		n.reach(t, far, wish(prefixes...))
	}
	for _, args := range []string{
		"addr add 10.9.9.9/32 dev far0 valid_lft 100 preferred_lft 100",
		"addr add 10.9.9.9 peer 10.9.9.8/30 dev far0",
		"addr add fd00::9 peer fd00::8/64 dev far0",
		"addr add 10.9.9.9/24 dev far0 label far0:x",
	} {
		n.ip(t, args)
		if ch := n.reach(t, far, wish("10.1.2.1/24")); len(ch.DelAddresses) != 1 {
			t.Errorf("%s: to delete %v; want one address", args, ch.DelAddresses)
		}
	}
	got := n.ip(t, "addr show up0")
	if !strings.Contains(got, "192.0.2.1/24") || !strings.Contains(got, "2001:db8::1/64") {
		t.Errorf("addresses outside the scope = %s; want them as they were", got)
	}
}

func TestAddressIsPlain(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	var set []network.Address
	for _, p := range []string{"10.1.2.1/24", "10.1.3.0/32", "fd00::1/64"} {
		set = append(set, network.Address{Link: "far0", Prefix: netip.MustParsePrefix(p)})
	}
	if err := n.Apply(t.Context(), network.Changes{SetAddresses: set}); err != nil {
		t.Fatal(err)
	}
	addrs := n.ip(t, "addr show far0")
	for _, want := range []string{
		"inet 10.1.2.1/24 brd 10.1.2.255 scope global far0", "inet 10.1.3.0/32 scope global far0", "inet6 fd00::1/64 scope global nodad",
	} {
		if !strings.Contains(addrs, want) {
			t.Errorf("addresses = %s; want %q", addrs, want)
		}
	}
	if strings.Contains(addrs, "tentative") && strings.Contains(addrs, "fd00::1/64 scope global tentative") {
		t.Errorf("addresses = %s; want fd00::1 usable at once", addrs)
	}
	if routes := n.ip(t, "route") + n.ip(t, "-6 route"); !strings.Contains(routes, "10.1.2.0/24 dev far0 proto kernel") || !strings.Contains(routes, "fd00::/64 dev far0 proto kernel") {
		t.Errorf("routes = %s; want the kernel's own for both prefixes", routes)
	}
}

// In a container, settings are written where another mount of /proc/sys is.
func TestSysctlsElsewhere(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), t.TempDir()
	const forward = "net/ipv4/ip_forward"
	n.WriteSysctlsIn(dir)
	set := network.Changes{SetSysctls: []network.Sysctl{{Path: forward, Value: "1"}}}
	if err := n.Apply(t.Context(), set); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where nothing is mounted: error = %v; want that there is no such file", err)
	}
	if err := os.Symlink("/proc/sys/net", filepath.Join(dir, "net")); err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(t.Context(), set); err != nil {
		t.Error(err)
	}
	if got := n.read(t, Scope{Sysctls: []string{forward}}).Sysctls[forward].Value; got != "1" {
		t.Errorf("ip_forward = %q; want 1", got)
	}
}

func TestSysctls(t *testing.T) {
	t.Parallel()
	n, other := newNode(t), newNode(t)
	const forward, absent = "net/ipv4/ip_forward", "net/ipv4/conf/eth9/rp_filter"
	s := Scope{Sysctls: []string{forward, absent, "net/ipv6/conf/up0/accept_ra"}}
	got := n.read(t, s).Sysctls
	if len(got) != 2 || got[forward] != (network.Sysctl{Path: forward, Value: "0"}) {
		t.Fatalf("sysctls = %v; want ip_forward 0, accept_ra, and no eth9", got)
	}
	want := network.NewState()
	want.Sysctls[forward] = network.Sysctl{Path: forward, Value: "1"}
	if ch := n.reach(t, s, want); len(ch.SetSysctls) != 1 {
		t.Errorf("set %v; want ip_forward alone", ch.SetSysctls)
	}
	if got := other.read(t, s).Sysctls[forward].Value; got != "0" {
		t.Errorf("ip_forward of another namespace = %q; want 0 still", got)
	}
	bad := []network.Sysctl{{Path: absent, Value: "0"}, {Path: "../../tmp/x", Value: "0"}, {Path: forward, Value: "bad"}}
	before := n.Writes()
	err := n.Apply(t.Context(), network.Changes{SetSysctls: bad})
	if err == nil || strings.Count(err.Error(), "set sysctl ") != len(bad) {
		t.Errorf("error = %v; want one per entry", err)
	}
	if n.Writes() == before {
		t.Error("writes are not counted")
	}
	if _, err := os.Stat(filepath.Join(sysctlDir, "../../tmp/x")); err == nil {
		t.Error("a path left /proc/sys")
	}
}
