// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Numbers that golang.org/x/sys/unix does not name (include/uapi/linux).
const (
	vethInfoPeer = 1      // VETH_INFO_PEER
	ndaNextHopID = 13     // NDA_NH_ID
	rtaNextHopID = 30     // RTA_NH_ID
	skipStats    = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	attrTypeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

// Flags of requests.
const (
	setOrReplace = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	setOrAppend  = unix.NLM_F_CREATE | unix.NLM_F_APPEND
	createNew    = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	dumpAll      = unix.NLM_F_DUMP
)

// Lengths of the fixed parts of messages, in bytes.
const (
	messageHdrLen = unix.SizeofNlMsghdr
	attrHdrLen    = unix.SizeofRtAttr
	ifInfoLen     = unix.SizeofIfInfomsg
	ifAddrLen     = unix.SizeofIfAddrmsg
	routeHdrLen   = unix.SizeofRtMsg
	neighHdrLen   = unix.SizeofNdMsg
	nextHopHdrLen = unix.SizeofRtNexthop
)

// An encoder appends netlink messages to buf. Sequence numbers are filled in
// by socket.exchange.
type encoder struct {
	buf   []byte
	start int // of the message being written
}

// begin starts a message; end completes it.
func (e *encoder) begin(typ uint16, flags uint16) {
	e.start = len(e.buf)
	e.buf = append(e.buf, 0, 0, 0, 0)
	e.buf = native.AppendUint16(e.buf, typ)
	e.buf = native.AppendUint16(e.buf, flags|unix.NLM_F_REQUEST)
	e.buf = append(e.buf, 0, 0, 0, 0, 0, 0, 0, 0)
}

func (e *encoder) end() {
	native.PutUint32(e.buf[e.start:], uint32(len(e.buf)-e.start))
}

// attr appends one attribute.
func (e *encoder) attr(typ uint16, value []byte) {
	at := e.nest(typ)
	e.buf = append(e.buf, value...)
	e.close(at)
}

// nest starts an attribute that holds what is appended until close.
func (e *encoder) nest(typ uint16) (at int) {
	at = len(e.buf)
	e.buf = append(e.buf, 0, 0)
	e.buf = native.AppendUint16(e.buf, typ)
	return at
}

func (e *encoder) close(at int) {
	native.PutUint16(e.buf[at:], uint16(len(e.buf)-at))
	for len(e.buf)%4 != 0 {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) u8(typ uint16, v uint8) {
	at := e.nest(typ)
	e.buf = append(e.buf, v)
	e.close(at)
}

func (e *encoder) flag(typ uint16, v bool) {
	if v {
		e.u8(typ, 1)
	} else {
		e.u8(typ, 0)
	}
}

func (e *encoder) u32(typ uint16, v uint32) {
	at := e.nest(typ)
	e.buf = native.AppendUint32(e.buf, v)
	e.close(at)
}

func (e *encoder) name(typ uint16, s string) {
	at := e.nest(typ)
	e.buf = append(append(e.buf, s...), 0)
	e.close(at)
}

func (e *encoder) addr(typ uint16, a netip.Addr) {
	at := e.nest(typ)
	e.appendAddr(a)
	e.close(at)
}

func (e *encoder) appendAddr(a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		e.buf = append(e.buf, b[:]...)
		return
	}
	b := a.As16()
	e.buf = append(e.buf, b[:]...)
}

// A message is one netlink message as received.
type message struct {
	typ, flags uint16
	seq        uint32
	port       uint32 // of a notification: the socket that asked for the change; 0: none did
	body       []byte
}

// messages yields the messages of one datagram and stops at a broken one.
func messages(b []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for len(b) >= messageHdrLen {
			n := int(native.Uint32(b))
			if n < messageHdrLen || n > len(b) {
				return
			}
			m := message{
				typ: native.Uint16(b[4:]), flags: native.Uint16(b[6:]),
				seq: native.Uint32(b[8:]), port: native.Uint32(b[12:]), body: b[messageHdrLen:n],
			}
			if !yield(m) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// attrs yields the attributes in b and stops at a broken one. Values alias b.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attrHdrLen {
			n := int(native.Uint16(b))
			if n < attrHdrLen || n > len(b) {
				return
			}
			if !yield(native.Uint16(b[2:])&attrTypeMask, b[attrHdrLen:n]) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

func align(n int) int { return (n + 3) &^ 3 }

// family returns the address family of a, as the kernel numbers it.
func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// addrOf reads an address of either family; ok is false if b is none.
func addrOf(b []byte) (a netip.Addr, ok bool) { return netip.AddrFromSlice(b) }

// u32Of reads an unsigned number; a short attribute is 0.
func u32Of(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return native.Uint32(b)
}

// textOf reads a zero-terminated string.
func textOf(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
