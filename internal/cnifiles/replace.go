// SPDX-License-Identifier: Apache-2.0

package cnifiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A file is what a name in a directory is to hold.
type file struct {
	name string
	mode fs.FileMode
	b    []byte
}

// replace makes dir hold f in one step, and reports whether it did not yet. What
// stands under the name is never written into nor followed, whatever it is: a
// link is replaced, not what it points to. Several processes may do so at once.
func replace(dir *os.Root, f file) (wrote bool, err error) {
	if holds(dir, f) {
		return false, nil
	}
	unlock, err := lock(dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	if holds(dir, f) { // by now
		return false, nil
	}
	temp := "." + f.name + ".percale-new"
	if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("remove what a crash left: %w", err)
	}
	if err := create(dir, temp, f); err != nil {
		return false, errors.Join(err, ignoreMissing(dir.Remove(temp)))
	}
	if err := dir.Rename(temp, f.name); err != nil {
		return false, errors.Join(err, ignoreMissing(dir.Remove(temp)))
	}
	return true, nil
}

// create makes a new file, on the disk.
func create(dir *os.Root, name string, f file) error {
	w, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return err
	}
	_, err = w.Write(f.b)
	if err == nil {
		err = errors.Join(w.Chmod(f.mode), w.Sync()) // whatever the umask
	}
	return errors.Join(err, w.Close())
}

// holds reports whether dir has f already, as a file of its own.
func holds(dir *os.Root, f file) bool {
	fi, err := dir.Lstat(f.name)
	if err != nil || fi.Mode() != f.mode || fi.Size() != int64(len(f.b)) {
		return false
	}
	b, err := dir.ReadFile(f.name)
	return err == nil && bytes.Equal(b, f.b)
}

// lockTime is how long to wait for who else replaces files of a directory, which
// takes milliseconds. Any user who may read the directory can lock it.
const (
	lockTime  = 5 * time.Second
	lockEvery = 20 * time.Millisecond
)

// lock waits until no other process replaces files of dir. The lock goes with
// the process, however that ends.
func lock(dir *os.Root) (unlock func(), err error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(lockTime); ; <-time.After(lockEvery) {
		err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		busy := errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR)
		if !busy || time.Now().After(until) {
			break
		}
	}
	if err == nil {
		return func() { d.Close() }, nil
	}
	d.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another process has kept the directory locked for %v; see which, and end it: lsof %s", lockTime, dir.Name())
	}
	return nil, fmt.Errorf("lock the directory: %w", err)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// withRemedy adds to why a directory cannot be written what helps.
func withRemedy(err error) error {
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: mount it for writing", err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: free space there; df and df -i show what there is", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: percaled runs as root, and needs to own it", err)
	}
	return err
}
