// SPDX-License-Identifier: Apache-2.0

// Package nfattr walks and writes the netlink attributes of nf_tables messages,
// for what goes past the library: thousands of set elements that are read, rules
// that the library leaves out, or the few elements of a new pod.
package nfattr

import (
	"encoding/binary"
	"iter"
	"slices"

	"golang.org/x/sys/unix"
)

// All passes the netlink attributes in b, without flags and padding. It stops
// at what is none.
func All(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.SizeofNlAttr || n > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[unix.SizeofNlAttr:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// Find returns the first attribute of a kind in b, of which it is a part; nil
// if there is none.
func Find(b []byte, kind uint16) []byte {
	for k, v := range All(b) {
		if k == kind {
			return slices.Clip(v)
		}
	}
	return nil
}

// Append appends an attribute to b, padded. kind has its flags.
func Append(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}
