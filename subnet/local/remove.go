// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// The files that an agent leaves, by directory. What writes another one adds
// it here.
var (
	runFiles   = [...]string{"owned.json", "bridge.json", "waiting", "percaled.sock"}
	stateFiles = [...]string{"lease.json", "peers.json"}
)

// lockFile is what a running agent holds in its run directory.
const lockFile = "lock"

// Remove removes what an agent left in its two directories, and these if
// nothing else is in them. It returns the paths of what there was; nothing is
// success. Directories that are mounted or not ours to remove stay.
func Remove(runDir, stateDir string) (removed []string, err error) {
	var errs []error
	remove := func(path string) {
		switch err := os.Remove(path); {
		case err == nil && filepath.Base(path) != lockFile: // of interest to nobody
			removed = append(removed, path)
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	for dir, names := range map[string][]string{runDir: append(runFiles[:], lockFile), stateDir: stateFiles[:]} {
		for _, name := range names {
			remove(filepath.Join(dir, name))
			halves, err := filepath.Glob(filepath.Join(dir, "."+name+".*")) // of writeFile, broken off
			errs = append(errs, err)
			for _, half := range halves {
				remove(half)
			}
		}
		if dir == runDir {
			notes, err := filepath.Glob(filepath.Join(dir, notesDir, "*"))
			errs = append(errs, err)
			for _, note := range notes {
				remove(note)
			}
			os.Remove(filepath.Join(dir, notesDir))
		}
		os.Remove(dir) // fails where anything else is in it
	}
	return removed, errors.Join(errs...)
}
