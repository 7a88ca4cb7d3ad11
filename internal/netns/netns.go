// SPDX-License-Identifier: Apache-2.0

// Package netns makes and enters network namespaces. A namespace is a value
// that is passed around. A thread that enters one is locked: inside Do and Start
// it dies with the call, inside At it comes back, so no other goroutine ever
// runs in the wrong namespace.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dir is where named namespaces live, as "ip netns" expects.
const Dir = "/run/netns"

// An NS is a named network namespace.
type NS struct{ name string }

// Named returns the namespace of that name, which may not exist.
func Named(name string) NS { return NS{name} }

// Name returns what "ip netns" calls the namespace.
func (ns NS) Name() string { return ns.name }

// Path returns the file that stands for the namespace.
func (ns NS) Path() string { return filepath.Join(Dir, ns.name) }

// Create makes a named namespace with its loopback up. It is an error if the
// name is in use.
func Create(name string) (NS, error) {
	ns := NS{name}
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return NS{}, fmt.Errorf("create namespace %s: %w", name, err)
	}
	f, err := os.OpenFile(ns.Path(), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return NS{}, fmt.Errorf("create namespace %s: %w", name, err)
	}
	f.Close()
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare (this needs root or a user namespace): %w", err)
		}
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		if err := unix.Mount(self, ns.Path(), "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", ns.Path(), err)
		}
		return loopbackUp()
	})
	if err != nil {
		return NS{}, fmt.Errorf("create namespace %s: %w", name, errors.Join(err, ns.Delete()))
	}
	return ns, nil
}

// Delete removes the name. The namespace itself goes when the last process in
// it ends. An absent namespace is success.
func (ns NS) Delete() error {
	if err := unix.Unmount(ns.Path(), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", ns.Path(), err)
	}
	if err := os.Remove(ns.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Do runs fn on a thread that is in the namespace. What fn starts in other
// goroutines is not.
func (ns NS) Do(fn func() error) error {
	f, err := os.Open(ns.Path())
	if err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	defer f.Close()
	return onThread(func() error {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", ns.name, err)
		}
		return fn()
	})
}

// Start starts cmd in the namespace. Its SysProcAttr must not set Pdeathsig:
// the thread that forks ends at once.
func (ns NS) Start(cmd *exec.Cmd) error { return ns.Do(cmd.Start) }

// Output runs a tool in the namespace and returns all that it printed, on
// standard output and error alike.
func (ns NS) Output(name string, args ...string) (string, error) {
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s in %s: %w: %s", name, ns.name, err, out)
	}
	return string(out), err
}

// onThread runs fn on a locked thread that ends with it, since a thread that
// has left its namespace must not serve other goroutines.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- fn()
	}()
	return <-done
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
