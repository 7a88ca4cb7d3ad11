// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

func TestOpenHere(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	var here *Conn
	err := n.ns.Do(func() (err error) {
		here, err = Open("")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	// From now on, calls come from threads of other namespaces.
	links, err := here.Links(t.Context())
	if err != nil || links["up0"].Name == "" {
		t.Errorf("links = %v, %v; want those of the namespace in which Open was called", links, err)
	}
	const path = "net/ipv4/conf/up0/rp_filter"
	st, err := here.Read(t.Context(), Scope{Sysctls: []string{path}})
	if err != nil || st.Sysctls[path].Path == "" {
		t.Errorf("sysctls = %v, %v; want those of the namespace in which Open was called", st.Sysctls, err)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of no file: %v; want it not to exist", err)
	}
	if c, err := Open(t.TempDir()); err == nil {
		c.Close()
		t.Error("Open of a directory: no error")
	}
}

func TestAfterClose(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c, err := Open(n.ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Links(t.Context()); !errors.Is(err, unix.EBADF) {
		t.Errorf("Links after Close: %v; want EBADF", err)
	}
}

// TestTwoDevices reads and writes a dual-stack overlay of two devices.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	n, want := newNode(t), overlay(3)
	v6 := tunnel("flannel-v6.1", 1, "2001:db8::1")
	want.Links[v6.Name] = v6
	for _, nb := range want.Neighbors {
		nb.Link = v6.Name
		want.Neighbors[nb.Key()] = nb
	}
	f := network.Forward{Link: v6.Name, MAC: mac(1), Dst: netip.MustParseAddr("2001:db8::77")}
	want.Forwards[f.Key()] = f
	both := Scope{Devices: []string{"flannel.1", v6.Name, "flannel.9"}}
	n.reach(t, both, want)
	n.ip(t, "neigh add 192.0.2.77 lladdr 0e:00:00:00:00:63 dev up0 nud permanent")
	one := n.read(t, scope)
	if len(one.Forwards) != 3 || len(one.Neighbors) != 6 {
		t.Errorf("in the scope of one device: %v, %v; want its own entries alone", one.Forwards, one.Neighbors)
	}
	if left := network.Compare(n.read(t, both), want); left.Len() != 0 {
		t.Errorf("to do: %+v; want nothing, as the entry on up0 is of others", left)
	}
	none := n.read(t, Scope{Devices: []string{"flannel.9"}, Networks: scope.Networks})
	if len(none.Forwards)+len(none.Neighbors)+len(none.Addresses) != 0 || len(none.Routes) != 6 {
		t.Errorf("in the scope of no device: %+v; want the routes of our protocol alone", none)
	}
}

// TestNewMACKeepsNeighbors: the kernel drops a device's neighbors with its MAC.
func TestNewMACKeepsNeighbors(t *testing.T) {
	t.Parallel()
	n, want := newOverlay(t, 20)
	l := want.Links["flannel.1"]
	l.MAC = mac(99)
	if err := n.set(t, l); err != nil {
		t.Fatal(err)
	}
	want.Links[l.Name] = l
	if left := network.Compare(n.read(t, scope), want); left.Len() != 0 {
		t.Errorf("left to do after a new MAC: %+v; want nothing", left)
	}
}
