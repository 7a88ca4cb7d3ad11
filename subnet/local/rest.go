// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CoolDown is for how long an address that was freed is not given again while
// there is another: until then peers may hold its old owner's connections, and
// neighbors its MAC.
const CoolDown = 30 * time.Second

// restTail bounds what is read of the list of freed addresses, and restSize the
// list itself, in bytes. The tail holds some 500 addresses.
const (
	restTail = 16 << 10
	restSize = 64 << 10
)

// restPath names the list of freed addresses: lines of address and Unix time,
// the newest last. host-local, which reads every file here, finds no owner in
// it. That it cannot be read or written costs only the rest.
func (s Store) restPath() string { return filepath.Join(s.dir, "percale.freed") }

// noteFreed adds addresses to the list. The lock is held.
func (s Store) noteFreed(addrs []netip.Addr, now time.Time) {
	f, err := os.OpenFile(s.restPath(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	var b strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&b, "%s %d\n", a, now.Unix())
	}
	fi, err := f.Stat()
	if err != nil {
		return
	}
	at := fi.Size()
	if at > restSize { // whoever is killed between these two writes loses the rest of some
		old := tail(f, at)
		at = 0
		if f.Truncate(0) != nil {
			return
		}
		if n, err := f.WriteAt(old, 0); err == nil {
			at = int64(n)
		}
	}
	_, _ = f.WriteAt([]byte(b.String()), at)
}

// rest returns for how long each address should still be left alone.
func (s Store) rest(now time.Time) func(netip.Addr) time.Duration {
	freed := s.freed()
	return func(a netip.Addr) time.Duration {
		t, ok := freed[a]
		left := CoolDown - now.Sub(t)
		if !ok || left > CoolDown { // the clock was set back: it may be years ahead
			return 0
		}
		return max(left, 0)
	}
}

// tail returns the last restTail bytes of a file of that size.
func tail(f *os.File, size int64) []byte {
	b := make([]byte, min(size, restTail))
	n, _ := f.ReadAt(b, size-int64(len(b)))
	return b[:n]
}

// parseFreed reads lines of address and Unix time; the last one of an address
// counts. The first line may be cut off, and others torn: they are left out.
func parseFreed(b []byte) map[netip.Addr]time.Time {
	freed := make(map[netip.Addr]time.Time)
	for line := range strings.Lines(string(b)) {
		addr, at, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		a, err := netip.ParseAddr(addr)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(at, 10, 64); err == nil {
			freed[a] = time.Unix(n, 0)
		}
	}
	return freed
}
