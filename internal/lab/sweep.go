// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// sweep ends every process of a lab, then removes its namespaces and what is in
// its folder. What is gone already is success, so it may be repeated after any
// failure. The caller holds the lock on the folder.
func sweep(ctx context.Context, name string) error {
	rec, err := load(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range rec.Processes {
		if err := p.signal(ctx, unix.SIGKILL); err != nil {
			return err
		}
	}
	if err := removeNamespaces(ctx, rec.Namespaces); err != nil {
		return err
	}
	es, err := os.ReadDir(dirOf(name))
	if err != nil {
		return err
	}
	for _, e := range es {
		if err := os.RemoveAll(filepath.Join(dirOf(name), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// removeDir removes the empty folder of a lab, and the one above when it is the
// last.
func removeDir(name string) error {
	if err := os.Remove(dirOf(name)); err != nil {
		return err
	}
	os.Remove(Root) // stays while another lab lives in it
	return nil
}

// removeNamespaces ends what runs in the namespaces and removes them.
func removeNamespaces(ctx context.Context, names []string) error {
	if err := killInside(ctx, names); err != nil {
		return err
	}
	for _, n := range names {
		if err := netns.Named(n).Delete(); err != nil {
			return fmt.Errorf("remove namespace %s: %w", n, err)
		}
	}
	return nil
}

// killInside ends every process whose network namespace is one of those named,
// until there is none: also what was started by hand, and what a killed
// percale-lab had no time to write down.
func killInside(ctx context.Context, names []string) error {
	inside := make(map[uint64]bool)
	for _, n := range names {
		var st unix.Stat_t
		if err := unix.Stat(netns.Named(n).Path(), &st); err == nil && isNetNS(netns.Named(n).Path()) {
			inside[st.Ino] = true
		}
	}
	for {
		pids, err := processesIn(inside)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := killIf(ctx, pid, inside); err != nil {
				return err
			}
		}
	}
}

// isNetNS tells a namespace's file from the empty one that is left where the
// mount was not made.
func isNetNS(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// processesIn lists the processes in any of the namespaces, by inode.
func processesIn(inside map[uint64]bool) ([]int, error) {
	if len(inside) == 0 {
		return nil, nil
	}
	es, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range es {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() && inside[netnsOf(pid)] {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// netnsOf returns the inode of a process's network namespace, 0 if it has
// ended.
func netnsOf(pid int) uint64 {
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st); err != nil {
		return 0
	}
	return st.Ino
}

// killIf kills a process if it is still in one of the namespaces once we hold
// it: an id can pass to a stranger between the listing and the signal.
func killIf(ctx context.Context, pid int, inside map[uint64]bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if !inside[netnsOf(pid)] || exited(fd) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return waitExit(ctx, fd)
}
