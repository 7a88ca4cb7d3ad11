// SPDX-License-Identifier: Apache-2.0

package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A note in the run directory says where percale-cni keeps addresses, and in
// which network namespace it makes the ports of their pods. Only where both are
// known does a port that is not there mean a sandbox that is gone: seen from
// another namespace, all would be. Each pair has a file of its own, named by its
// content, so that any number of processes may write it.
const (
	notesDir = "addresses"
	maxNote  = 8 << 10
	maxNotes = 64
)

// A Place is a network namespace, as long as it lives: no other that lives
// with it has the same. "" is none.
type Place string

// Here returns the network namespace of the calling thread.
func Here() (Place, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return "", fmt.Errorf("look up the network namespace: %w", &fs.PathError{Op: "stat", Path: "/proc/thread-self/ns/net", Err: err})
	}
	return Place(fmt.Sprintf("%d:%d", st.Dev, st.Ino)), nil
}

// A Network is what percale-cni serves in one place.
type Network struct {
	Store
	SubnetFile string // tells this node's subnets
}

// Note keeps in the run directory that the ports of n are made in place.
func (n Network) Note(runDir string, place Place) error {
	text := []byte(string(place) + "\n" + n.dir + "\n" + n.SubnetFile + "\n")
	path := notePath(runDir, text)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = createExclusive(path, text)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("note where pod addresses are: %w", err)
	}
	return nil
}

func notePath(runDir string, text []byte) string {
	sum := sha256.Sum256(text)
	return filepath.Join(runDir, notesDir, hex.EncodeToString(sum[:16]))
}

// Noted returns the networks whose ports are made in place, as the notes of the
// run directory have it, in order. A note that is not as Note writes it is left
// out.
func Noted(runDir string, place Place) ([]Network, error) {
	names, err := os.ReadDir(filepath.Join(runDir, notesDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up where pod addresses are: %w", err)
	}
	var all []Network
	for _, e := range names[:min(len(names), maxNotes)] {
		b, err := readFile(filepath.Join(runDir, notesDir, e.Name()), maxNote)
		if err != nil || notePath(runDir, b) != filepath.Join(runDir, notesDir, e.Name()) {
			continue
		}
		if s, ok := parseNote(string(b), place); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.dir, b.dir) })
	return all, nil
}

func parseNote(text string, place Place) (Network, bool) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || place == "" || lines[0] != string(place) {
		return Network{}, false
	}
	dir, subnets := lines[1], lines[2]
	s, err := NewStore(filepath.Dir(dir), filepath.Base(dir))
	return Network{s, subnets}, err == nil && s.dir == dir && filepath.IsAbs(subnets)
}
