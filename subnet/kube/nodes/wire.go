// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// The API server's binary encoding is protobuf in an envelope; see
// apimachinery's pkg/runtime/serializer/protobuf and its generated.proto files,
// where the field numbers stand that are used here. They never change.

// maxObject bounds an encoded object, in bytes. What etcd holds is 1.5 MB at
// most unless it was told otherwise.
const maxObject = 8 << 20

// magic begins each encoded object, and a runtime.Unknown follows.
var magic = []byte("k8s\x00")

var errTooLarge = errors.New("an object is too large")

// fields calls fn with each field of a message that is bytes, a text or a
// message itself, until fn returns an error. The values are parts of msg.
func fields(msg []byte, fn func(num protowire.Number, val []byte) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, msg); n < 0 {
				return protowire.ParseError(n)
			}
			msg = msg[n:]
			continue
		}
		val, n := protowire.ConsumeBytes(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := fn(num, val); err != nil {
			return err
		}
		msg = msg[n:]
	}
	return nil
}

// inner returns the message within an envelope.
func inner(enveloped []byte) ([]byte, error) {
	unknown, ok := bytes.CutPrefix(enveloped, magic)
	if !ok {
		return nil, errors.New("it is not in Kubernetes' binary encoding")
	}
	var raw []byte
	err := fields(unknown, func(num protowire.Number, val []byte) error {
		if num == 2 {
			raw = val
		}
		return nil
	})
	return raw, err
}

// A streamReader reads messages that are too large to be held at once.
type streamReader struct {
	r interface {
		io.Reader
		io.ByteReader
	}
	buf []byte
}

// varint returns io.EOF only where nothing follows.
func (s *streamReader) varint() (uint64, error) { return binary.ReadUvarint(s.r) }

// bytes returns the next n bytes, which hold until the next call.
func (s *streamReader) bytes(n uint64) ([]byte, error) {
	if n > maxObject {
		return nil, fmt.Errorf("%w: %d bytes, of %d at most", errTooLarge, n, maxObject)
	}
	const usual = 64 << 10
	if cap(s.buf) > usual && n <= usual {
		s.buf = nil // one large object shall not cost memory for ever
	}
	if uint64(cap(s.buf)) < n {
		s.buf = make([]byte, max(n, usual/4))
	}
	b := s.buf[:n]
	_, err := io.ReadFull(s.r, b)
	return b, unended(err)
}

// field reads a tag. For a field of bytes it returns how many follow; others
// are skipped, and their number is 0.
func (s *streamReader) field() (num protowire.Number, size uint64, err error) {
	tag, err := s.varint()
	if err != nil {
		return 0, 0, err
	}
	num, typ := protowire.DecodeTag(tag)
	switch typ {
	case protowire.BytesType:
		if size, err = s.varint(); num < 1 && err == nil {
			err = errors.New("it has a field without a number")
		}
		return num, size, unended(err)
	case protowire.VarintType:
		_, err = s.varint()
	case protowire.Fixed32Type:
		_, err = s.bytes(4)
	case protowire.Fixed64Type:
		_, err = s.bytes(8)
	default:
		err = errors.New("it has a field of an unknown type")
	}
	return 0, 0, unended(err)
}

// unended makes of the end of a stream an error that says that it came early.
func unended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
