// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// maxOwned bounds owned.json, in bytes. A full one has some 10,000.
const maxOwned = 64 << 10

// OwnedPath returns where the run directory holds what of the kernel is ours.
// That directory goes with a reboot, as the kernel's state does.
func OwnedPath(runDir string) string { return filepath.Join(runDir, "owned.json") }

// SaveOwned keeps what of the kernel is ours, for the next start. The file is
// replaced as a whole, and not touched if it says so already.
func SaveOwned(runDir string, b []byte) error {
	if err := writeFile(OwnedPath(runDir), b); err != nil {
		return fmt.Errorf("note what of the kernel is ours: %w", err)
	}
	return nil
}

// LoadOwned returns what SaveOwned kept, nil if it did not yet.
func LoadOwned(runDir string) ([]byte, error) {
	b, err := readFile(OwnedPath(runDir), maxOwned)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}
