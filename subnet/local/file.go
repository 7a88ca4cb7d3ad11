// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// writeFile makes path hold b, in one step: a reader finds the old content or
// the new one, whole, even after a power cut. It writes nothing when path
// holds b already.
func writeFile(path string, b []byte) error {
	if have, err := readFile(path, int64(len(b))); err == nil && bytes.Equal(have, b) {
		return nil
	}
	return replaceFile(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// replaceFile makes path hold what write writes, in one step, as writeFile
// does. A file that has one writer at a time needs no more: what a crash left of
// an earlier attempt is removed.
func replaceFile(path string, write func(io.Writer) error) error {
	dir, temp := filepath.Dir(path), "."+filepath.Base(path)+"."
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := removeWithPrefix(dir, temp); err != nil {
		return fmt.Errorf("write %s: remove what a crash left: %w", path, err)
	}
	f, err := os.CreateTemp(dir, temp+"*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = write(f)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// removeWithPrefix removes the files of dir whose names begin so.
func removeWithPrefix(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// readFile returns the content of path, at most limit bytes: more is an error.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d KiB", limit>>10)}
	}
	return b, nil
}
