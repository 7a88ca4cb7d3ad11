// SPDX-License-Identifier: Apache-2.0

package cnifiles

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Dir is a directory in which container runtimes look for CNI configurations,
// usually /etc/cni/net.d.
type Dir string

// Write makes our list stand in d as the file template says, and reports whether
// it did not yet. A template that is no such list changes nothing.
func (d Dir) Write(template string) (wrote bool, err error) {
	b, err := readBounded(template)
	if err == nil {
		err = Check(b)
	}
	if err != nil {
		return false, fmt.Errorf("read the CNI configuration %s: %w", template, err)
	}
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return false, fmt.Errorf("make the directory of CNI configurations: %w", withRemedy(err))
	}
	dir, err := os.OpenRoot(string(d))
	if err != nil {
		return false, fmt.Errorf("open the directory of CNI configurations: %w", err)
	}
	defer dir.Close()
	wrote, err = replace(dir, file{Name, 0o644, b})
	if err != nil {
		return false, fmt.Errorf("write %s: %w", filepath.Join(string(d), Name), withRemedy(err))
	}
	return wrote, nil
}

// Rivals returns the configurations that runtimes take in place of ours, in the
// order in which they do. A directory that does not exist has none.
func (d Dir) Rivals() ([]Rival, error) {
	entries, err := os.ReadDir(string(d)) // sorted, as runtimes do
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("read the directory of CNI configurations: %w", err)
	}
	var rivals []Rival
	for _, e := range entries {
		if e.Name() >= Name {
			break
		}
		if e.IsDir() || !isConf(e.Name()) {
			continue
		}
		r := Rival{Name: e.Name()}
		b, err := readBounded(filepath.Join(string(d), r.Name))
		if err == nil {
			r.Plugins, err = pluginsOf(r.Name, b)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile, or a link to nothing: no runtime reads it either
		}
		r.Err = err
		if len(r.Plugins) == 0 || !handsOn(r.Plugins[0]) {
			rivals = append(rivals, r)
		}
	}
	return rivals, nil
}

// SetAside renames what rivals are, so that no runtime takes them any more. It
// goes on after a failure.
func (d Dir) SetAside(rivals []Rival) error {
	var errs []error
	for _, r := range rivals {
		path := filepath.Join(string(d), r.Name)
		if err := os.Rename(path, path+aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("set a CNI configuration aside: %w", withRemedy(err)))
		}
	}
	return errors.Join(errs...)
}

// Remove removes our list, and returns what was removed and what had been set
// aside, which stays. A directory that does not exist has neither.
func (d Dir) Remove() (removed, setAside []string, err error) {
	path := filepath.Join(string(d), Name)
	switch err := os.Remove(path); {
	case err == nil:
		removed = append(removed, path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, nil, withRemedy(err)
	}
	entries, err := os.ReadDir(string(d))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), aside) {
			setAside = append(setAside, filepath.Join(string(d), e.Name()))
		}
	}
	return removed, setAside, ignoreMissing(err)
}

// WasCalled returns what a file was called before it was set aside.
func WasCalled(path string) string { return strings.TrimSuffix(path, aside) }

// errNoFile says that a name stands for something else than a file.
var errNoFile = errors.New("it is no regular file")

// readBounded reads a configuration, or a little more than may be in one.
func readBounded(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, cmp.Or(err, errNoFile)
	}
	return io.ReadAll(io.LimitReader(f, maxConf+1))
}
