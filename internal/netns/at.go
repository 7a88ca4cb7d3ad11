// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// At runs fn on a thread that is in the namespace that file stands for. What
// fn starts in other goroutines is not.
//
// It is the calling thread if that can come back, which takes a tenth of the
// time in which another one starts. Should the kernel not let it come back
// after all, the error says so, and the goroutine stays in the namespace, on a
// thread that serves no other: it must end.
func At(file *os.File, fn func() error) error {
	runtime.LockOSThread()
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(own)
		err = enter(own) // where it is: it may do so later only if it may now
	}
	if err == nil {
		return thereAndBack(int(file.Fd()), own, fn)
	}
	runtime.UnlockOSThread()
	return onThread(func() error {
		if err := enter(int(file.Fd())); err != nil {
			return err
		}
		return fn()
	})
}

// thereAndBack runs fn in a namespace on the calling thread, which is locked,
// and unlocks it when it is back in its own.
func thereAndBack(there, own int, fn func() error) error {
	if err := enter(there); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err := fn()
	if back := enter(own); back != nil {
		return errors.Join(err, fmt.Errorf("leave namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

func enter(namespace int) error {
	if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	return nil
}
