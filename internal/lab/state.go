// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A record is lab.json: all that a lab consists of. It names a thing before the
// thing is made.
type record struct {
	Spec       Spec
	Ready      bool // Up has ended
	Namespaces []string
	Processes  map[string]Process // by role, such as pl-n1/percaled0
	Nodes      []*nodeRecord
}

// A nodeRecord is one node in lab.json.
type nodeRecord struct {
	Index int // from 1
	Pods  []Pod
}

// A Pod is one pod and what percale-cni gave it.
type Pod struct {
	Name    string // of its namespace, such as pl-n1-p2
	Index   int    // on its node, from 1
	Network int    // which pod network it is on, from 0
	Addrs   []netip.Addr
}

// An exclusive right to change one lab, between processes.
type dirLock struct{ f *os.File }

// lockDir makes the folder of a lab if need be, and waits for nobody: that
// another process changes the lab is an error.
func lockDir(dir string) (dirLock, error) {
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // another lab removed the empty root between two steps
			}
			return dirLock{}, err
		}
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return dirLock{}, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			return dirLock{}, fmt.Errorf("lock %s: another percale-lab is at work on it: %w", dir, err)
		}
		if sameFile(f, dir) { // else: removed by its former holder
			return dirLock{f}, nil
		}
		f.Close()
	}
}

func (l dirLock) unlock() { l.f.Close() }

func sameFile(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// load reads lab.json.
func load(name string) (record, error) {
	b, err := os.ReadFile(filepath.Join(dirOf(name), "lab.json"))
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, fmt.Errorf("read state of lab %s: %w", name, err)
	}
	return r, nil
}

// saveLocked writes lab.json so that a reader sees the old or the new one whole. The
// caller holds mu.
func (l *Lab) saveLocked() error {
	b, err := json.MarshalIndent(l.rec, "", "\t")
	if err != nil {
		return err
	}
	tmp := filepath.Join(l.dir(), "lab.json.new")
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(l.dir(), "lab.json"))
}

// update changes the record and saves it.
func (l *Lab) update(fn func(r *record)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn(&l.rec)
	return l.saveLocked()
}

// List returns the names of the labs on this machine, whole or in part.
func List() ([]string, error) {
	es, err := os.ReadDir(Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}
