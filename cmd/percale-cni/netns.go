// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/kernel"
)

// errNoNetns says that the container's namespace is gone.
var errNoNetns = errors.New("it is no network namespace")

// openPod connects to a container's namespace. One that is gone is errNoNetns.
func openPod(path string) (*kernel.Conn, error) {
	bad := func(err error) error {
		return fmt.Errorf("open namespace of the container, CNI_NETNS=%.200q: %w", path, err)
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, bad(fmt.Errorf("%w: %w", errNoNetns, err))
	}
	if err != nil {
		return nil, bad(err)
	}
	own, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	if os.SameFile(st, own) {
		return nil, bad(errors.New("it is the namespace of the node itself"))
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(path, &fsys); err != nil {
		return nil, bad(err)
	}
	if fsys.Type != unix.NSFS_MAGIC && fsys.Type != unix.PROC_SUPER_MAGIC {
		return nil, bad(errNoNetns)
	}
	c, err := kernel.Open(path)
	if errors.Is(err, unix.EINVAL) { // a namespace of another kind
		err = fmt.Errorf("%w: %w", errNoNetns, err)
	}
	if err != nil {
		return nil, bad(err)
	}
	return c, nil
}
