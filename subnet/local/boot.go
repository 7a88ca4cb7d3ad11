// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootID is where the kernel says which boot this is.
const bootID = "/proc/sys/kernel/random/boot_id"

// A boot is one run of the kernel.
type boot struct {
	id    string
	began time.Time // by the present clock
}

func thisBoot(now time.Time) (boot, error) {
	id, err := readFile(bootID, 100)
	if err != nil {
		return boot{}, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return boot{}, err
	}
	return boot{strings.TrimSpace(string(id)), now.Add(-time.Duration(up.Nano()))}, nil
}

// Settle frees the addresses of pods that a restart of the machine ended, as
// Reserve does before it gives any.
func (s Store) Settle(ctx context.Context) error {
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return s.freeOfOlderBoot(time.Now())
}

// freeOfOlderBoot frees what pods of an older boot had: no interface outlives
// the kernel. The lock is held.
//
// Two signs must agree, since an address that is freed by mistake is given
// twice: the boot is another one than the store last saw (else the clock may
// have been set, as on machines that start without one), and the entry was made
// before this boot, or in its future (else another plugin made it, in a time
// when this one did not run). What only one sign speaks against stays, until GC.
func (s Store) freeOfOlderBoot(now time.Time) error {
	b, err := thisBoot(now)
	if err != nil {
		return nil // without /proc there is no telling
	}
	path := filepath.Join(s.dir, "percale.boot")
	seen, err := readFile(path, maxEntry)
	if err == nil && string(seen) == b.id {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read boot of pod addresses: %w", err)
	}
	if err == nil && len(seen) > 0 { // else the directory is another plugin's until now
		if err := s.freeMadeBefore(b.began, now); err != nil {
			return err
		}
	}
	return writeFile(path, []byte(b.id))
}

func (s Store) freeMadeBefore(began, now time.Time) error {
	used, err := s.used()
	if err != nil {
		return err
	}
	for a := range used {
		fi, err := os.Lstat(s.path(a))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.ModTime().Before(began) && !fi.ModTime().After(now) {
			continue
		}
		if err == nil {
			err = os.Remove(s.path(a))
		}
		if err != nil {
			return fmt.Errorf("free %s of an older boot: %w", a, err)
		}
	}
	s.prune()
	return nil
}
