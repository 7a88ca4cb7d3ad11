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
// not read the files of all pods. It is written before the addresses are taken,
// and removed after they are freed: what it does not name, an owner of ours does
// not have. An owner that is not in it may be host-local's.

func (s Store) indexPath(own Owner) string {
	sum := sha256.Sum256([]byte(own.Container + "\x00" + own.Ifname))
	return filepath.Join(s.dir, "percale.owners", hex.EncodeToString(sum[:16]))
}

// index adds addresses to what own may have. The lock is held.
func (s Store) index(own Owner, addrs []netip.Addr) error {
	var b strings.Builder
	for _, a := range addrs {
		b.WriteString(a.String() + "\n")
	}
	path := s.indexPath(own)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Close())
}

// indexed returns what own may have; not ok if it is not in the index. A torn
// last line, of whoever was killed or met a full disk, took no address yet.
func (s Store) indexed(own Owner) (addrs []netip.Addr, ok bool) {
	b, err := readFile(s.indexPath(own), maxEntry)
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(b)) {
		a, err := netip.ParseAddr(strings.TrimSuffix(line, "\n"))
		if err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs, true
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
