// SPDX-License-Identifier: Apache-2.0

package cnifiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// plugin is ours; without it there is nothing to install.
const plugin = "percale-cni"

// chained are the reference plugins that runtimes call beside ours. They come
// with our image; where they do not, the node may have its own.
var chained = [...]string{"bandwidth", "loopback", "portmap"}

// Install puts the plugins that stand in from into dir, where container runtimes
// look for them, and says on out what it did with each. A plugin that runs while
// it is replaced goes on. Installing again changes nothing.
func Install(from, dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of CNI plugins: %w", withRemedy(err))
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the directory of CNI plugins: %w", err)
	}
	defer to.Close()
	if err := install(from, to, plugin, out); err != nil {
		return err
	}
	for _, name := range chained {
		err := install(from, to, name, out)
		if errors.Is(err, errNotThere) {
			_, there := to.Lstat(name)
			fmt.Fprintf(out, "%s is not in %s; %s\n", name, from, without(there == nil, name))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// without says what a plugin that we do not have means.
func without(there bool, name string) string {
	if there {
		return "the one that the node has stays"
	}
	return fmt.Sprintf("pods whose CNI configuration names it fail: install it from the node's package containernetworking-plugins, or take %q out of the configuration", name)
}

// errNotThere says that there is no such plugin to install.
var errNotThere = errors.New("no such plugin")

// install puts one plugin into a directory.
func install(from string, to *os.Root, name string, out io.Writer) error {
	b, err := readPlugin(filepath.Join(from, name))
	if err != nil {
		return fmt.Errorf("install %s: %w", name, err)
	}
	path := filepath.Join(to.Name(), name)
	wrote, err := replace(to, file{name, 0o755, b})
	switch {
	case err != nil:
		return fmt.Errorf("install %s: %w", path, withRemedy(err))
	case wrote:
		fmt.Fprintf(out, "installed %s\n", path)
	default:
		fmt.Fprintf(out, "%s is installed already\n", path)
	}
	return nil
}

// readPlugin reads a program.
func readPlugin(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w as %s: it has to stand beside percaled", errNotThere, path)
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular() || fi.Size() == 0:
		return nil, fmt.Errorf("%s is no program", path)
	}
	return os.ReadFile(path)
}
