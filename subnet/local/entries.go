// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/percale-net/percale/subnet/ipam"
)

// An Entry is an address that is in use.
type Entry struct {
	Addr  netip.Addr
	Owner Owner // zero when the file does not say
}

// Entries returns all that the store holds, in order of address. A file whose
// name is no address is not an entry. An address that is freed meanwhile may
// be left out.
func (s Store) Entries() ([]Entry, error) {
	used, err := s.used()
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(used))
	for a := range used {
		own, err := s.owner(a)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read pod address: %w", err)
		}
		entries = append(entries, Entry{a, own})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return a.Addr.Compare(b.Addr) })
	return entries, nil
}

// Age returns how long ago an address was given, 0 if it is free.
func (s Store) Age(a netip.Addr) time.Duration {
	fi, err := os.Lstat(s.path(a))
	if err != nil {
		return 0
	}
	return time.Since(fi.ModTime())
}

// used returns the addresses that have a file.
func (s Store) used() (ipam.Set, error) {
	d, err := os.Open(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ipam.Set{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list pod addresses: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list pod addresses: %w", err)
	}
	used := make(ipam.Set, len(names))
	for _, name := range names {
		// The name must be as we would write it: what path gives back.
		if a, err := netip.ParseAddr(name); err == nil && a.String() == name && a.Zone() == "" {
			used[a] = true
		}
	}
	return used, nil
}

// owner reads whose a is.
func (s Store) owner(a netip.Addr) (Owner, error) {
	b, err := readFile(s.path(a), maxEntry)
	if err != nil {
		return Owner{}, err
	}
	return parseOwner(b), nil
}

// parseOwner reads the file of an address: the container id, and on the next
// line the interface, which old versions of host-local did not write.
func parseOwner(b []byte) Owner {
	id, ifname, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return Owner{strings.TrimSpace(id), strings.TrimSpace(ifname)}
}

// last returns the address of the i-th range that was given most recently. A
// file that cannot be read costs only the order of the round.
func (s Store) last(i int) netip.Addr {
	b, err := readFile(s.lastPath(i), maxEntry)
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(strings.TrimSpace(string(b)))
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// setLast is the inverse of last. That it fails is no reason to fail a pod.
func (s Store) setLast(i int, a netip.Addr) {
	f, err := os.OpenFile(s.lastPath(i), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	// Not emptied first: file systems then write to the disk at once.
	b := []byte(a.String())
	if _, err := f.WriteAt(b, 0); err == nil {
		_ = f.Truncate(int64(len(b)))
	}
}

func (s Store) lastPath(i int) string {
	return filepath.Join(s.dir, "last_reserved_ip."+strconv.Itoa(i))
}
