// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// A neighbor is a neighbor or forwarding (FDB) entry as the kernel tells it.
type neighbor struct {
	family uint8 // AF_INET, AF_INET6, or AF_BRIDGE for a forwarding entry
	flags  uint8 // NTF_*
	state  uint16
	index  int32
	ip     netip.Addr // a forwarding entry's destination
	mac    network.MAC
	odd    bool // a forwarding entry that network.Forward cannot express
}

// decodeNeighbor reads an RTM_NEWNEIGH message. It is not ok without an
// Ethernet address.
func decodeNeighbor(b []byte) (n neighbor, ok bool) {
	if len(b) < neighHdrLen {
		return neighbor{}, false
	}
	n.family, n.index, n.state, n.flags = b[0], int32(native.Uint32(b[4:])), native.Uint16(b[8:]), b[10]
	for typ, v := range attrs(b[neighHdrLen:]) {
		switch typ {
		case unix.NDA_DST:
			n.ip, _ = addrOf(v)
		case unix.NDA_LLADDR:
			if len(v) == len(n.mac) {
				copy(n.mac[:], v)
				ok = true
			}
		case unix.NDA_PORT, unix.NDA_VNI, unix.NDA_IFINDEX, ndaNextHopID:
			n.odd = true
		}
	}
	return n, ok
}

// isPermanent reports whether n is a neighbor entry that someone set to stay.
func (n *neighbor) isPermanent() bool {
	return n.family != unix.AF_BRIDGE && n.state&unix.NUD_PERMANENT != 0 && n.ip.IsValid() && family(n.ip) == n.family
}

// isForward reports whether n is a forwarding entry that someone set.
func (n *neighbor) isForward() bool {
	return n.family == unix.AF_BRIDGE && n.flags&unix.NTF_SELF != 0 &&
		n.state&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 && (n.ip.IsValid() || n.odd)
}

func (n *neighbor) forward(link string) network.Forward {
	if n.odd {
		return network.Forward{Link: link, MAC: n.mac}
	}
	return network.Forward{Link: link, MAC: n.mac, Dst: n.ip}
}

func (e *encoder) neighHeader(fam uint8, index int32, flags uint8) {
	e.buf = append(e.buf, fam, 0, 0, 0)
	e.buf = native.AppendUint32(e.buf, uint32(index))
	e.buf = native.AppendUint16(e.buf, unix.NUD_PERMANENT)
	e.buf = append(e.buf, flags, 0)
}

// neighbor appends a message that sets or deletes n.
func (e *encoder) neighbor(typ uint16, index int32, n network.Neighbor) error {
	if !n.IP.IsValid() {
		return errors.New("no IP address")
	}
	if typ == unix.RTM_NEWNEIGH {
		e.begin(typ, setOrReplace)
	} else {
		e.begin(typ, 0)
	}
	e.neighHeader(family(n.IP), index, 0)
	e.addr(unix.NDA_DST, n.IP)
	e.attr(unix.NDA_LLADDR, n.MAC[:])
	e.end()
	return nil
}

// forward appends a message that sets or deletes f. The kernel replaces the
// destination of a unicast MAC, and adds one to a group MAC.
func (e *encoder) forward(typ uint16, index int32, f network.Forward) error {
	switch {
	case typ == unix.RTM_DELNEIGH:
		e.begin(typ, 0)
	case !f.Dst.IsValid():
		return errors.New("no destination")
	case f.MAC.IsGroup() || f.MAC.IsZero():
		e.begin(typ, setOrAppend)
	default:
		e.begin(typ, setOrReplace)
	}
	e.neighHeader(unix.AF_BRIDGE, index, unix.NTF_SELF)
	e.attr(unix.NDA_LLADDR, f.MAC[:])
	if f.Dst.IsValid() {
		e.addr(unix.NDA_DST, f.Dst)
	}
	e.end()
	return nil
}
