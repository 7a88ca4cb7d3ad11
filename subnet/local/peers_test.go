// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/subnet"
)

func leaseNumber(i int) subnet.Lease {
	return subnet.Lease{Node: fmt.Sprintf("node-%d", i), Backend: "vxlan",
		V4: subnet.Endpoint{
			Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
			Uplink: netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}),
			Data:   `{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}`,
		}}
}

func knownPeers(n int) Known {
	k := Known{Node: "n1", Store: "etcd /coreos.com/network", Conf: []byte(`{"Network": "10.0.0.0/8"}` + "\n"),
		At: time.Unix(1_700_000_000, 0)}
	for i := range n {
		k.Leases = append(k.Leases, leaseNumber(i))
	}
	return k
}

func TestPeersAreKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := LoadPeers(dir, "n1", "etcd /coreos.com/network"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadPeers of nothing: %v; want that it does not exist", err)
	}
	k := knownPeers(3)
	k.Leases[1] = subnet.Lease{V4: subnet.Endpoint{Subnet: k.Leases[1].V4.Subnet}} // unreadable in the store
	k.Leases[2].V6 = subnet.Endpoint{Subnet: netip.MustParsePrefix("fc00:0:0:7::/64"), Uplink: netip.MustParseAddr("fd00::7"), Data: `{"a":"<é\\\"\u0001"}`}
	for range 2 {
		if err := SavePeers(dir, k); err != nil {
			t.Fatal(err)
		}
		got, err := LoadPeers(dir, "n1", "etcd /coreos.com/network")
		if err != nil || !got.At.Equal(k.At) {
			t.Fatalf("LoadPeers: %v, at %v; want at %v", err, got.At, k.At)
		}
		if got.At = k.At; !reflect.DeepEqual(got, k) {
			t.Errorf("LoadPeers = %+v; want %+v", got, k)
		}
		k.Leases, k.Conf, k.At = k.Leases[:2], nil, k.At.Add(time.Hour)
	}
}

// TestPeersAreNotRewritten: where nothing but the time differs, the file is the
// same one, and it is written anew where anything else does.
func TestPeersAreNotRewritten(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), knownPeers(500)
	save := func() os.FileInfo {
		t.Helper()
		if err := SavePeers(dir, k); err != nil {
			t.Fatal(err)
		}
		about, err := os.Stat(peersPath(dir))
		if err != nil || !about.ModTime().Equal(k.At) {
			t.Fatalf("file of %v, %v; want of %v", about.ModTime(), err, k.At)
		}
		return about
	}
	first := save()
	k.At = k.At.Add(time.Minute)
	if !os.SameFile(first, save()) {
		t.Error("the file was written again though nothing changed")
	}
	whole, err := os.ReadFile(peersPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"a changed lease": func() error { k.Leases[499].Node = "another"; return nil },
		"a lease less":    func() error { k.Leases = k.Leases[:499]; return nil },
		"a flipped bit": func() error {
			b := bytes.Clone(whole)
			b[len(b)/2] ^= 1
			return os.WriteFile(peersPath(dir), b, 0o644)
		},
		"half of it":   func() error { return os.Truncate(peersPath(dir), 500) },
		"more than it": func() error { return os.WriteFile(peersPath(dir), append(bytes.Clone(whole), '\n'), 0o644) },
		"nothing":      func() error { return os.Remove(peersPath(dir)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		save()
		got, err := LoadPeers(dir, k.Node, k.Store)
		if err != nil || !reflect.DeepEqual(got.Leases, k.Leases) {
			t.Errorf("%s: LoadPeers: %v, %d leases; want what was saved last", name, err, len(got.Leases))
		}
	}
}

// TestPeersOfHostiles: what no store tells is not saved, and what it tells of
// others hurts no one's cache.
func TestPeersOfHostiles(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), knownPeers(1)
	bad := make([]subnet.Lease, 8)
	for i := range bad {
		bad[i] = leaseNumber(9)
	}
	bad[0] = subnet.Lease{Node: "none"}
	bad[1].Node = "a\nb"
	bad[2].V4.Subnet = netip.MustParsePrefix("10.0.0.7/24")
	bad[3].V4.Data = strings.Repeat(" ", 20<<10) + "1"
	bad[4].V4.Data = `{"VNI":`
	bad[5].V4.Uplink = netip.MustParseAddr("fe80::1%eth0")
	bad[6].V6 = bad[6].V4
	bad[7].V6.Data = "{}"
	k.Leases = append(bad, k.Leases...)
	if err := SavePeers(dir, k); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadPeers(dir, k.Node, k.Store); err != nil || len(got.Leases) != 1 || got.Leases[0] != leaseNumber(0) {
		t.Errorf("LoadPeers = %+v, %v; want the sound lease alone", got, err)
	}
	k.Leases = make([]subnet.Lease, maxLeases+1)
	for i := range k.Leases {
		k.Leases[i] = leaseNumber(i & 0xffff)
	}
	if err := SavePeers(dir, k); err == nil || !strings.Contains(err.Error(), "100000 leases") {
		t.Errorf("SavePeers of too many = %v; want an error that says so", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v, %v; want the old file alone", entries, err)
	}
}

func TestPeersRefused(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), knownPeers(3)
	if err := SavePeers(dir, k); err != nil {
		t.Fatal(err)
	}
	path := peersPath(dir)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name, node, store, says string) {
		t.Helper()
		got, err := LoadPeers(dir, node, store)
		if err == nil || !reflect.DeepEqual(got, Known{}) {
			t.Fatalf("%s: LoadPeers = %+v, %v; want an error", name, got, err)
		}
		for _, want := range []string{path, says, "rm " + path} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: LoadPeers: %v; want %q in it", name, err, want)
			}
		}
	}
	refused("another node", "n2", k.Store, `of node "n1", and this is "n2"`)
	refused("another store", k.Node, "etcd /other", `this node uses "etcd /other"`)
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range whole { // each byte lost with all behind it, and each one flipped
		put(whole[:i])
		refused("truncated", k.Node, k.Store, "damaged")
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		put(flipped)
		refused(fmt.Sprintf("flipped at %d", i), k.Node, k.Store, "damaged")
	}
	put(append(bytes.Clone(whole), whole...))
	refused("doubled", k.Node, k.Store, "after its end")
	put(bytes.Repeat([]byte("x"), maxPeersLine+1))
	refused("a long line", k.Node, k.Store, "more than 256 KiB")
	put(bytes.Replace(whole, []byte(`"Version":1`), []byte(`"Version":2`), 1))
	refused("a later version", k.Node, k.Store, "version 2")
	if err := os.Truncate(path, maxPeers+1); err != nil {
		t.Fatal(err)
	}
	refused("too large", k.Node, k.Store, "too large")
}

// TestLeftovers: what a crash left beside our files is gone after the next
// write, and nothing else is.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{".lease.json.123", ".peers.json.1", ".peers.json.2", ".other.json.3", "lease.json.4"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(SavePeers(dir, knownPeers(1)), SaveLease(dir, leaseNumber(1))); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), ".other.json.3 lease.json lease.json.4 peers.json"; got != want {
		t.Errorf("directory holds %s; want %s", got, want)
	}
}

func FuzzReadPeers(f *testing.F) {
	for n := range 3 {
		var b bytes.Buffer
		if err := writePeers(&b, knownPeers(n)); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := readPeers(bytes.NewReader(b), 0)
		if err != nil {
			return
		}
		for _, l := range k.Leases {
			if err := checkLease(&l); err != nil {
				t.Errorf("readPeers took %+v: %v", l, err)
			}
		}
		var again bytes.Buffer
		if err := writePeers(&again, k); err != nil {
			t.Fatal(err)
		}
		if back, err := readPeers(&again, 0); err != nil || !reflect.DeepEqual(back, k) {
			t.Errorf("%+v reads back as %+v, %v", k, back, err)
		}
	})
}

// FuzzTakeLease reaches what a checksum keeps FuzzReadPeers from.
func FuzzTakeLease(f *testing.F) {
	f.Add([]byte(`{"Node":"n1","V4":{"Subnet":"10.42.7.0/24","Uplink":"192.0.2.7","Data":"{}"},"V6":{"Subnet":"fc00::/64"}}`))
	f.Add([]byte(`{"V4":{"Subnet":"::ffff:10.0.0.0/96"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var k Known
		if err := k.take(1, line); err != nil {
			return
		}
		var b bytes.Buffer
		if err := writePeers(&b, k); err != nil {
			t.Fatal(err)
		}
		if back, err := readPeers(&b, 0); err != nil || !reflect.DeepEqual(back, k) {
			t.Errorf("%+v reads back as %+v, %v", k, back, err)
		}
	})
}

func BenchmarkPeers(b *testing.B) {
	dir, k := b.TempDir(), knownPeers(15_000)
	b.Run("save", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k.Leases[len(k.Leases)-1].Node = fmt.Sprint(i)
			if err := SavePeers(dir, k); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("save unchanged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := SavePeers(dir, k); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := LoadPeers(dir, k.Node, k.Store); err != nil {
				b.Fatal(err)
			}
		}
	})
}
