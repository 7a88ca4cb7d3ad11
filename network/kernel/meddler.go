// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// A meddling is a change of what is ours that somebody else asked for.
type meddling struct {
	port uint32 // netlink port of the socket that asked
	at   time.Time
	name string // of the process, as it was then
	pid  int    // 0: not known
}

// LastMeddler returns the process that last changed what is ours by netlink, as
// far as Watch could see, and when it did; a zero time if none has. The name may
// be empty, and the number is 0 if the process is not known.
//
// The kernel names in a notification the port of the socket that asked for the
// change. It does so (Linux 6.18) for routes and neighbors of both families and
// for IPv4 addresses; not for links, IPv6 addresses, the forwarding entries of a
// VXLAN device and sysctls. By default the port is the number of the process, in
// the PID namespace that it lives in.
func (c *Conn) LastMeddler() (name string, pid int, at time.Time) {
	if m := c.meddled.Load(); m != nil {
		return m.name, m.pid, m.at
	}
	return "", 0, time.Time{}
}

// blame remembers who caused the events in b, if they are about what is ours.
// Our own changes, which may be thousands, are not looked into. A process is
// named at once, since most tools are gone an instant later; but once only if
// it goes on.
func (c *Conn) blame(b []byte, at time.Time) {
	last := c.seen.Load()
	for m := range messages(b) {
		if m.port != 0 && m.port != c.sock.port && last != nil && last.holds(m) {
			now := &meddling{port: m.port, at: at}
			if was := c.meddled.Load(); was != nil && was.port == m.port && was.name != "" {
				now.name, now.pid = was.name, was.pid
			} else {
				now.name, now.pid = whoIs(procDir, processOf(m.port))
			}
			c.meddled.Store(now)
		}
	}
}

// holds reports whether m is about a link of ours, or about a route that is
// ours or has taken the place of one that may be.
func (s *seen) holds(m message) bool {
	switch m.typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return len(m.body) >= 8 && s.ours[int32(native.Uint32(m.body[4:]))] // all begin alike
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, ok := decodeRoute(m.body)
		if !ok {
			return false
		}
		replaced := m.typ == unix.RTM_NEWROUTE && m.flags&unix.NLM_F_REPLACE != 0
		return r.uses(func(i int32) bool { return s.ours[i] }) ||
			(replaced || r.Protocol == network.Protocol) && within(r.Dst, s.networks)
	}
	return false
}
