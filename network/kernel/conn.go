// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/percale-net/percale/internal/netns"
)

// A Conn reads and changes one network namespace. It is safe for concurrent
// use; of several Apply calls at a time, the entries mix.
type Conn struct {
	sock    *socket
	ns      *os.File
	sysctls atomic.Uint64 // written
	seen    atomic.Pointer[seen]
	meddled atomic.Pointer[meddling] // the newest one that Watch saw

	sysctlDir string // where settings are written; "": where they are read
}

// What the newest Read saw.
type seen struct {
	ours                        map[int32]bool // links of its Scope, by index
	networks                    []netip.Prefix // of its Scope
	routes, neighbors, forwards int            // how many, as the next Read's first guess
}

// Open connects to the namespace of the given file, such as /run/netns/x; ""
// stands for the namespace of the calling thread. Another namespace than that
// of this process needs CAP_SYS_ADMIN; changes need CAP_NET_ADMIN.
func Open(ns string) (*Conn, error) {
	runtime.LockOSThread() // so that the file is of the calling thread
	defer runtime.UnlockOSThread()
	if ns == "" {
		ns = "/proc/thread-self/ns/net"
	}
	f, err := os.Open(ns)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	c := &Conn{ns: f}
	err = c.inside(func() (err error) {
		c.sock, err = openSocket()
		return err
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open namespace %s: %w", ns, err)
	}
	return c, nil
}

// inside runs fn on a thread that is in the namespace: the present one if it
// is, since entering a namespace needs a capability that an agent in the
// namespace of its node does without.
func (c *Conn) inside(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	st, err := c.ns.Stat()
	if err != nil {
		return err
	}
	if os.SameFile(own, st) {
		return fn()
	}
	return netns.At(c.ns, fn)
}

// Close frees the socket. Calls under way fail.
func (c *Conn) Close() error { return errors.Join(c.sock.close(), c.ns.Close()) }

// Writes returns the number of changes that were asked of the kernel since
// Open, successful or not: netlink messages and sysctl files.
func (c *Conn) Writes() uint64 { return c.sock.writes.Load() + c.sysctls.Load() }
