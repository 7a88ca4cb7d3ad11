// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// lock takes the lock of the store's directory, flock(2) on the file that
// host-local locks too, and waits for it until ctx ends. A process that dies
// holding it lets it go.
func (s Store) lock(ctx context.Context) (unlock func(), err error) {
	path := filepath.Join(s.dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock pod addresses: %w", err)
	}
	err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return s.locked(f, err)
	}
	done := make(chan error, 1)
	go func() { done <- flock(f, unix.LOCK_EX) }()
	select {
	case err := <-done:
		return s.locked(f, err)
	case <-ctx.Done():
		go func() { // the wait cannot be broken off, only its lock given back
			<-done
			f.Close()
		}()
		return nil, fmt.Errorf("lock pod addresses: %s is held by another process (see lslocks): %w", path, ctx.Err())
	}
}

func (s Store) locked(f *os.File, err error) (unlock func(), _ error) {
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock pod addresses: %w", &os.PathError{Op: "flock", Path: f.Name(), Err: err})
	}
	return func() { f.Close() }, nil
}

// flock is flock(2), begun again when a signal breaks it off.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// createExclusive makes a file that holds b, fs.ErrExist if there is one. It
// appears with its content: whoever is killed half-way leaves nothing.
func createExclusive(path string, b []byte) error {
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		return createInPlace(path, b) // a file system without nameless files
	}
	if err != nil {
		return &os.PathError{Op: "create", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	self := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: self, New: path, Err: err}
	}
	return nil
}

func createInPlace(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
