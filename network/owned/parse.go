// SPDX-License-Identifier: Apache-2.0

package owned

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// A file is a Record on disk. Its version makes a reader refuse what it could
// misunderstand.
type file struct {
	Version int `json:"version"`
	Record
}

const version = 1

// Bytes returns r as Parse reads it.
func (r Record) Bytes() ([]byte, error) {
	b, err := json.MarshalIndent(file{version, r}, "", "  ")
	return append(b, '\n'), err
}

// Parse reads what Bytes made. It takes nothing that no plan could hold, since
// what it returns may be deleted.
func Parse(b []byte) (Record, error) {
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return Record{}, err
	}
	if f.Version != version {
		return Record{}, fmt.Errorf("version %d: want %d", f.Version, version)
	}
	if len(f.Devices) > most || len(f.Networks) > most {
		return Record{}, fmt.Errorf("%d devices and %d networks: want at most %d of each", len(f.Devices), len(f.Networks), most)
	}
	for _, d := range f.Devices {
		if err := d.check(); err != nil {
			return Record{}, fmt.Errorf("device %.40q: %w", d.Name, err)
		}
	}
	for _, n := range f.Networks {
		if !n.IsValid() || n != n.Masked() || n.Bits() == 0 || n.Addr().Is4In6() {
			return Record{}, fmt.Errorf("network %s: want a prefix such as 10.244.0.0/16", n)
		}
	}
	return f.Record, nil
}

func (d Device) check() error {
	odd := func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	switch {
	case d.Name == "", len(d.Name) > 15, d.Name == ".", d.Name == "..", strings.ContainsFunc(d.Name, odd):
		return errors.New("no name of a link")
	case d.VNI < 1 || d.VNI >= 1<<24:
		return fmt.Errorf("VNI %d: want 1 to 16777215", d.VNI)
	case d.Port < 1 || d.Port > 65535:
		return fmt.Errorf("port %d: want 1 to 65535", d.Port)
	}
	return nil
}
