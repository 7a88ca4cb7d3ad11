// SPDX-License-Identifier: Apache-2.0

package nfattr

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// What Append writes, All and Find read, and nothing else.
func FuzzAppend(f *testing.F) {
	f.Add(uint16(1), []byte("a"), uint16(2|unix.NLA_F_NESTED), []byte(""))
	f.Add(uint16(2), []byte("four"), uint16(1), []byte("seven by"))
	f.Fuzz(func(t *testing.T, k1 uint16, v1 []byte, k2 uint16, v2 []byte) {
		if len(v1) > 1000 || len(v2) > 1000 {
			return
		}
		b := Append(Append(nil, k1, v1), k2, v2)
		if len(b)%4 != 0 {
			t.Errorf("%d bytes; want whole words", len(b))
		}
		var got [][]byte
		for kind, v := range All(b) {
			want := []uint16{k1, k2}[len(got)] &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if kind != want {
				t.Errorf("kind %d; want %d", kind, want)
			}
			got = append(got, v)
		}
		if len(got) != 2 || !bytes.Equal(got[0], v1) || !bytes.Equal(got[1], v2) {
			t.Errorf("read %q; want %q, %q", got, v1, v2)
		}
		if first := Find(b, k1&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)); !bytes.Equal(first, v1) {
			t.Errorf("Find = %q; want %q", first, v1)
		}
	})
}
