// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/hex"
	"fmt"
)

// A MAC is an Ethernet address (EUI-48). The zero MAC stands for "none".
type MAC [6]byte

// ParseMAC reads the form aa:bb:cc:dd:ee:ff, in either case, and nothing else.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 {
		return MAC{}, fmt.Errorf("MAC %.40q: want six bytes as aa:bb:cc:dd:ee:ff", s)
	}
	for i := range m {
		if i > 0 && s[3*i-1] != ':' {
			return MAC{}, fmt.Errorf("MAC %q: want six bytes as aa:bb:cc:dd:ee:ff", s)
		}
		if _, err := hex.Decode(m[i:i+1], []byte(s[3*i:3*i+2])); err != nil {
			return MAC{}, fmt.Errorf("MAC %q: want six bytes as aa:bb:cc:dd:ee:ff", s)
		}
	}
	return m, nil
}

// String returns the MAC in lower case, bytes separated by colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText makes a MAC readable in JSON.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (m *MAC) UnmarshalText(b []byte) error {
	got, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = got
	return nil
}

// IsZero reports whether m is "none".
func (m MAC) IsZero() bool { return m == MAC{} }

// IsGroup reports whether m is a multicast or broadcast address, which no
// single interface can own.
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }
