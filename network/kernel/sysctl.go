// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/percale-net/percale/network"
)

const sysctlDir = "/proc/sys"

// WriteSysctlsIn has settings written below dir, another mount of /proc/sys or
// of parts of it: the usual one is read-only in a container. They are read in
// the usual one all the same. It is called before any other method.
func (c *Conn) WriteSysctlsIn(dir string) { c.sysctlDir = dir }

// readSysctls reads settings; one that this kernel does not have is left out.
func (c *Conn) readSysctls(paths []string) (map[string]network.Sysctl, error) {
	found := make(map[string]network.Sysctl, len(paths))
	if len(paths) == 0 {
		return found, nil
	}
	// /proc/sys/net shows the namespace of the thread that opens the file.
	err := c.inside(func() error {
		for _, p := range paths {
			file, err := sysctlFile(sysctlDir, p)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read sysctl: %w", err)
			}
			found[p] = network.Sysctl{Path: p, Value: strings.TrimSuffix(string(b), "\n")}
		}
		return nil
	})
	return found, err
}

func (c *Conn) setSysctls(set []network.Sysctl) error {
	if len(set) == 0 {
		return nil
	}
	var errs []error
	err := c.inside(func() error {
		for _, s := range set {
			c.sysctls.Add(1)
			if err := c.writeSysctl(s); err != nil {
				errs = append(errs, &EntryError{"set", s, err})
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

func (c *Conn) writeSysctl(s network.Sysctl) error {
	file, err := sysctlFile(cmp.Or(c.sysctlDir, sysctlDir), s.Path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s.Value)
	return errors.Join(err, f.Close())
}

// sysctlFile returns the file of a setting below dir. Link names are part of
// paths, so one that leaves the directory is refused.
func sysctlFile(dir, path string) (string, error) {
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("sysctl %q: want a path below %s", path, dir)
	}
	return filepath.Join(dir, path), nil
}
