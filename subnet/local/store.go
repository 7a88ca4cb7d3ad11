// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/subnet/ipam"
)

// DataDir is where pod addresses are kept unless the CNI configuration
// (ipam.dataDir) says otherwise.
const DataDir = "/var/lib/cni/networks"

// maxEntry bounds the file of one address, in bytes.
const maxEntry = 64 << 10

// An Owner is an attachment of a container to the network: what an address
// belongs to.
type Owner struct {
	Container string // the runtime's id of the sandbox
	Ifname    string // the interface in it; "" in entries of old host-local versions
}

// A Store keeps the addresses of the pods of one network as the host-local
// plugin keeps them, so that a node can go from one to the other, and both can
// work side by side: one file per address, named by it, holding the owner.
// The files themselves make an address exclusive; the directory's lock, which
// host-local also takes, is held only for a look and a write of few files.
// The methods may be called concurrently, by any number of processes.
type Store struct{ dir string }

// NewStore returns the store of a network, under dataDir ("" means DataDir).
// It touches no file.
func NewStore(dataDir, network string) (Store, error) {
	if dataDir == "" {
		dataDir = DataDir
	}
	if !filepath.IsAbs(dataDir) {
		return Store{}, fmt.Errorf("data directory %.200q: want an absolute path", dataDir)
	}
	if !validName(network) || len(network) > 255 { // bytes of a file name
		return Store{}, fmt.Errorf("network name %.80q: want at most 255 letters, digits, and _ . - after the first", network)
	}
	return Store{filepath.Join(dataDir, network)}, nil
}

// Reserve gives one address of each range to own: all or none. Where one of
// wanted is in the range it is that one. It fails with *ipam.FullError where a
// range has none left, with *ipam.TakenError where a wanted one is in use. It
// does not look whether own has addresses already: only the kernel knows
// whether the attachment is there.
func (s Store) Reserve(ctx context.Context, own Owner, ranges []ipam.Range, wanted ...netip.Addr) ([]netip.Addr, error) {
	if err := own.Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make address directory: %w", err)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now := time.Now()
	if err := s.freeOfOlderBoot(now); err != nil {
		return nil, err
	}
	s.noteBounds(ranges)
	c := ipam.Choice{Ranges: ranges, Wanted: wanted, Last: make([]netip.Addr, len(ranges)), Rest: s.rest(now)}
	if c.Used, err = s.used(); err != nil {
		return nil, err
	}
	for i := range ranges {
		c.Last[i] = s.last(i)
	}
	return s.reserve(own, c)
}

// reserve makes the files of a choice. The lock is held.
func (s Store) reserve(own Owner, c ipam.Choice) ([]netip.Addr, error) {
	for {
		chosen, err := c.Choose()
		if err != nil {
			return nil, err
		}
		taken, err := s.create(chosen, own)
		if err != nil {
			return nil, err
		}
		if taken.IsValid() { // by somebody who did not lock
			c.Used[taken] = true
			continue
		}
		for i, a := range chosen {
			if !slices.Contains(c.Wanted, a) { // which are not in the order of the round
				s.setLast(i, a)
			}
		}
		return chosen, nil
	}
}

// create makes the files of all addresses, or of none. taken is an address
// that has a file already, the zero Addr when all went well.
func (s Store) create(addrs []netip.Addr, own Owner) (taken netip.Addr, err error) {
	for i, a := range addrs {
		err := s.take(a, own)
		if err == nil {
			continue
		}
		for _, made := range addrs[:i] {
			err = errors.Join(err, os.Remove(s.path(made)), os.Remove(s.entryPath(own, made)))
		}
		if errors.Is(err, fs.ErrExist) {
			return a, nil
		}
		return netip.Addr{}, fmt.Errorf("reserve %s: %w", a, err)
	}
	return netip.Addr{}, nil
}

// take makes the file of an address, fs.ErrExist if there is one. It appears
// with its content: whoever is killed half-way leaves an entry in the index and
// no address.
func (s Store) take(a netip.Addr, own Owner) error {
	entry, err := s.index(own, a)
	if err != nil {
		return err
	}
	err = os.Link(entry, s.path(a))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) { // a file system without second names
		err = createInPlace(s.path(a), []byte(own.Container+"\r\n"+own.Ifname))
	}
	if err != nil {
		_ = os.Remove(entry)
	}
	return err
}

// Owned returns the addresses of own, in order. Entries without an interface
// name, as old host-local versions left them, count when there is none with.
func (s Store) Owned(own Owner) ([]netip.Addr, error) {
	if err := own.Check(); err != nil {
		return nil, err
	}
	indexed, ok, err := s.owned(own)
	if err != nil {
		return nil, fmt.Errorf("read pod address: %w", err)
	}
	if ok {
		slices.SortFunc(indexed, netip.Addr.Compare)
		return slices.Compact(indexed), nil
	}
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	var exact, old []netip.Addr
	for _, e := range entries {
		switch e.Owner {
		case own:
			exact = append(exact, e.Addr)
		case Owner{Container: own.Container}:
			old = append(old, e.Addr)
		}
	}
	if exact == nil {
		return old, nil
	}
	return exact, nil
}

// Release frees all addresses of own. It may be repeated; no address is
// success.
func (s Store) Release(ctx context.Context, own Owner) error {
	addrs, err := s.Owned(own)
	if err != nil {
		return err
	}
	return s.Free(ctx, own, addrs)
}

// Free frees those of the addresses that are own's.
func (s Store) Free(ctx context.Context, own Owner, addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return nil
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.noteFreed(addrs, time.Now()) // before: an address that is in use can be in the list, one that is free must be
	var errs error
	for _, a := range addrs {
		// Look again: in the meantime somebody may have freed the address
		// and somebody else have taken it.
		is, err := s.owner(a)
		if err == nil && (is == own || is == Owner{Container: own.Container}) {
			err = os.Remove(s.path(a))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, fmt.Errorf("release %s: %w", a, err))
		}
	}
	if errs == nil {
		s.unindex(own)
	}
	return errs
}

func (s Store) path(a netip.Addr) string { return filepath.Join(s.dir, a.String()) }

// Check holds o to the rules of the CNI specification, without which the file
// of an address could not be read back.
func (o Owner) Check() error {
	if !validName(o.Container) || len(o.Container) > 4096 {
		return fmt.Errorf("container id %.80q: want at most 4096 letters, digits, and _ . - after the first", o.Container)
	}
	bad := func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if o.Ifname == "" || len(o.Ifname) > 15 || o.Ifname == "." || o.Ifname == ".." || strings.ContainsFunc(o.Ifname, bad) {
		return fmt.Errorf("interface name %.80q: want 1 to 15 bytes without / : or space", o.Ifname)
	}
	return nil
}

// validName tells whether s is a network name or container id of the CNI
// specification. Such a name is also a safe file name.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != ""
}
