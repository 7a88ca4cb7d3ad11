// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// An EntryError says which entry the kernel refused, and why.
type EntryError struct {
	Op    string // "set" or "delete"
	Entry any    // a network.Link, Address, Sysctl, Forward, Neighbor or Route
	Err   error
}

func (e *EntryError) Error() string { return e.Op + " " + describe(e.Entry) + ": " + e.Err.Error() }

func (e *EntryError) Unwrap() error { return e.Err }

func describe(entry any) string {
	switch v := entry.(type) {
	case network.Link:
		return "link " + v.Name
	case network.Address:
		return fmt.Sprintf("address %s dev %s", v.Prefix, v.Link)
	case network.Sysctl:
		return fmt.Sprintf("sysctl %s = %s", v.Path, v.Value)
	case network.Forward:
		if !v.Dst.IsValid() {
			return fmt.Sprintf("forward %s dev %s", v.MAC, v.Link)
		}
		return fmt.Sprintf("forward %s dst %s dev %s", v.MAC, v.Dst, v.Link)
	case network.Neighbor:
		return fmt.Sprintf("neighbor %s lladdr %s dev %s", v.IP, v.MAC, v.Link)
	case network.Route:
		return describeRoute(v)
	}
	return fmt.Sprint(entry)
}

func describeRoute(r network.Route) string {
	var b strings.Builder
	b.WriteString("route " + r.Dst.String())
	if r.Via.IsValid() {
		b.WriteString(" via " + r.Via.String())
	}
	b.WriteString(" dev " + r.Link)
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	return b.String()
}

// A refusal is the kernel's answer to a request: a number and, where it has
// one, a text (NETLINK_EXT_ACK).
type refusal struct {
	errno unix.Errno
	text  string
}

func (r *refusal) Error() string {
	if r.text == "" {
		return r.errno.Error()
	}
	return fmt.Sprintf("%s (%s)", strings.TrimRight(r.text, ".\n"), r.errno.Error())
}

func (r *refusal) Unwrap() error { return r.errno }

// err returns what an NLMSG_ERROR or NLMSG_DONE message reports; nil is an
// acknowledgement.
func (m message) err() error {
	if len(m.body) < 4 {
		return nil
	}
	code := int32(native.Uint32(m.body))
	if code >= 0 {
		return nil
	}
	r := &refusal{errno: unix.Errno(-code)}
	if m.flags&unix.NLM_F_ACK_TLVS == 0 {
		return r
	}
	skip := 4 // NLMSG_DONE: the code alone
	if m.typ == unix.NLMSG_ERROR {
		skip += messageHdrLen
		if m.flags&unix.NLM_F_CAPPED == 0 && len(m.body) >= 8 {
			skip = 4 + align(int(native.Uint32(m.body[4:])))
		}
	}
	if skip < 0 || skip > len(m.body) {
		return r
	}
	for typ, v := range attrs(m.body[skip:]) {
		if typ == unix.NLMSGERR_ATTR_MSG {
			r.text = textOf(v)
		}
	}
	return r
}

// gone reports whether err says that what was to be deleted is not there.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL)
}
