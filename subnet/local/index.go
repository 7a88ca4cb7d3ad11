// SPDX-License-Identifier: Apache-2.0

package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// The index says which addresses an owner may have, so that deleting a pod need
// not read the files of all pods. An entry is a second name of an address's
// file, made of owner and address. It is there before the address is taken, and
// removed after that is freed: what it does not name, an owner of ours does not
// have. An owner that is not in it may be host-local's.
//
// Before there was a release, an entry was a file of its own, named by the owner
// alone, with a line for each address. Those are still understood.

// indexDir names the directory of the index.
func (s Store) indexDir() string { return filepath.Join(s.dir, "percale.owners") }

// indexKey begins the names of own's entries.
func indexKey(own Owner) string {
	sum := sha256.Sum256([]byte(own.Container + "\x00" + own.Ifname))
	return hex.EncodeToString(sum[:16])
}

// entryPath names own's entry for a.
func (s Store) entryPath(own Owner, a netip.Addr) string {
	return filepath.Join(s.indexDir(), indexKey(own)+","+a.String())
}

// oldEntryPath names own's entry of before the first release.
func (s Store) oldEntryPath(own Owner) string { return filepath.Join(s.indexDir(), indexKey(own)) }

// index makes own's entry for a, which becomes the address's file. The lock is
// held, and a is free.
func (s Store) index(own Owner, a netip.Addr) (path string, err error) {
	path = s.entryPath(own, a)
	const flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC // somebody who was killed may have left one
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.indexDir(), 0o755); err != nil {
			return "", err
		}
		f, err = os.OpenFile(path, flags, 0o644)
	}
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(own.Container + "\r\n" + own.Ifname)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return path, nil
}

// unindex removes own's entries. That it cannot costs only room.
func (s Store) unindex(own Owner) {
	key := indexKey(own)
	for _, name := range s.entryNames() {
		if owner, _, _ := strings.Cut(name, ","); owner == key {
			_ = os.Remove(filepath.Join(s.indexDir(), name))
		}
	}
}

// prune removes the entries of addresses that nobody has. The lock is held.
func (s Store) prune() {
	for _, name := range s.entryNames() {
		if _, addr, ok := strings.Cut(name, ","); ok {
			if _, err := os.Lstat(filepath.Join(s.dir, addr)); errors.Is(err, fs.ErrNotExist) {
				_ = os.Remove(filepath.Join(s.indexDir(), name))
			}
		}
	}
}

// entryNames lists the index; nil if it cannot be read.
func (s Store) entryNames() []string {
	d, err := os.Open(s.indexDir())
	if err != nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil
	}
	return names
}

// indexed returns what own may have; not ok if it is not in the index.
func (s Store) indexed(own Owner) (addrs []netip.Addr, ok bool) {
	key := indexKey(own)
	for _, name := range s.entryNames() {
		addr, mine := strings.CutPrefix(name, key+",")
		if a, err := netip.ParseAddr(addr); mine && err == nil {
			addrs = append(addrs, a)
		}
	}
	lines, old := s.oldEntry(own)
	for _, line := range lines {
		if a, err := netip.ParseAddr(line); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs, old || len(addrs) > 0
}

// oldEntry returns the lines of own's entry of before the first release. A torn
// last line, of whoever was killed or met a full disk, took no address yet.
func (s Store) oldEntry(own Owner) (lines []string, ok bool) {
	b, err := readFile(s.oldEntryPath(own), maxEntry)
	if err != nil {
		return nil, false
	}
	return strings.Split(string(b), "\n"), true
}

// owned looks the addresses of own up in the index.
func (s Store) owned(own Owner) (addrs []netip.Addr, ok bool, err error) {
	may, ok := s.indexed(own)
	for _, a := range may {
		is, err := s.owner(a)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
		if err == nil && is == own {
			addrs = append(addrs, a)
		}
	}
	return addrs, ok, nil
}
