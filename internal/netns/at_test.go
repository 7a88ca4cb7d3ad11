// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// here returns the namespace of the calling thread.
func here(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAtComesBack(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // so that here is of one thread
	defer runtime.UnlockOSThread()
	a, b := open(t, Temp(t).Path()), open(t, Temp(t).Path())
	before, failed := here(t), errors.New("failed")
	var inA, inB, inAgain string
	err := At(a, func() error {
		inA = here(t)
		err := At(b, func() error {
			inB = here(t)
			return failed
		})
		inAgain = here(t)
		return err
	})
	if !errors.Is(err, failed) {
		t.Errorf("At = %v; want the error of what it runs", err)
	}
	if inA == before || inB == before || inA == inB || inAgain != inA || here(t) != before {
		t.Errorf("in %s, then %s, %s, %s and %s; want two others, and back each time", before, inA, inB, inAgain, here(t))
	}
	if err := At(open(t, os.Args[0]), func() error { return nil }); !errors.Is(err, unix.EINVAL) || here(t) != before {
		t.Errorf("At of a plain file = %v, in %s; want EINVAL, in %s", err, here(t), before)
	}
}

const unprivileged = "PERCALE_TEST_UNPRIVILEGED"

// Whoever may enter a namespace of his own but not the one that he is in, as in
// a user namespace, enters it by another thread.
func TestAtWithoutAWayBack(t *testing.T) {
	if os.Getenv(unprivileged) == "" {
		if out, err := exec.Command("unshare", "--user", "true").CombinedOutput(); err != nil {
			t.Skipf("no user namespaces here (sysctl user.max_user_namespaces): %v: %s", err, out)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", os.Args[0], "-test.run=^TestAtWithoutAWayBack$", "-test.v")
		cmd.Env = append(os.Environ(), unprivileged+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("in a user namespace: %v\n%s", err, out)
		}
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := here(t)
	if err := enter(int(open(t, "/proc/thread-self/ns/net").Fd())); !errors.Is(err, unix.EPERM) {
		t.Fatalf("entering the namespace that it is in: %v; want it refused", err)
	}
	var other *os.File
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		other, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var there string
	if err := At(other, func() error { there = here(t); return nil }); err != nil || there == before || here(t) != before {
		t.Errorf("At = %v, in %s and then %s; want another one than %s, and back", err, there, here(t), before)
	}
}
