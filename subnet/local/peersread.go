// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/percale-net/percale/subnet"
)

// What may be wrong with a file of ours.
var (
	errChecksum = errors.New("the checksum does not match")
	errCut      = errors.New("the end is missing")
)

// LoadPeers returns what SavePeers kept for the node from the store. Where there
// is no file, it returns fs.ErrNotExist. Any other error names the file, what is
// wrong with it and what helps: a file of another node or store, a damaged one,
// of which no part is used, or one that is too large. Known.At may lie in the
// future where the clock was set back.
func LoadPeers(stateDir, node, store string) (Known, error) {
	path := peersPath(stateDir)
	f, err := os.Open(path)
	if err != nil {
		return Known{}, fmt.Errorf("load known peers: %w", err)
	}
	defer f.Close()
	about, err := f.Stat()
	if err != nil {
		return Known{}, fmt.Errorf("load known peers: %w", err)
	}
	bad := func(format string, args ...any) (Known, error) {
		return Known{}, fmt.Errorf("load known peers: %s %w: remove it, and the store's word is awaited: rm %s", path, fmt.Errorf(format, args...), path)
	}
	if about.Size() > maxPeers {
		return bad("is too large (%d bytes; at most %d are read)", about.Size(), maxPeers)
	}
	const usual = 200 // bytes of a lease: room for all spares copies
	k, err := readPeers(io.LimitReader(f, maxPeers), int(about.Size()/usual))
	switch {
	case err != nil:
		return bad("is damaged (%w)", err)
	case k.Node != node:
		return bad("is of node %.253q, and this is %q", k.Node, node)
	case k.Store != store:
		return bad("is of the store %.200q, and this node uses %q", k.Store, store)
	}
	k.At = about.ModTime()
	return k, nil
}

// readPeers is the inverse of writePeers, with room for so many leases. What it
// reads is hostile until its end has been seen.
func readPeers(r io.Reader, leases int) (Known, error) {
	lines, sum := bufio.NewReaderSize(r, maxPeersLine), sha256.New()
	k := Known{Leases: slices.Grow([]subnet.Lease(nil), min(leases, maxLeases))}
	for n := 0; ; n++ {
		line, err := lines.ReadSlice('\n') // good until the next one
		switch {
		case errors.Is(err, io.EOF):
			return Known{}, errCut
		case errors.Is(err, bufio.ErrBufferFull):
			return Known{}, fmt.Errorf("line %d has more than %d KiB", n+1, maxPeersLine>>10)
		case err != nil:
			return Known{}, err
		}
		if n > 0 && bytes.HasPrefix(line, []byte(`{"Leases":`)) {
			if !bytes.Equal(line, peersEnd(len(k.Leases), sum.Sum(nil))) {
				return Known{}, errChecksum
			}
			if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
				return Known{}, errors.New("it goes on after its end")
			}
			return k, nil
		}
		sum.Write(line)
		if err := k.take(n, line); err != nil {
			return Known{}, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
}

// take reads the n-th line.
func (k *Known) take(n int, line []byte) error {
	if n == 0 {
		var h peersHeader
		if err := json.Unmarshal(line, &h); err != nil {
			return err
		}
		if h.Version != peersVersion {
			return fmt.Errorf("version %d; only version %d is known", h.Version, peersVersion)
		}
		k.Node, k.Store, k.Conf = h.Node, h.Store, h.Conf
		return nil
	}
	if len(k.Leases) == maxLeases {
		return fmt.Errorf("more than %d leases", maxLeases)
	}
	var l subnet.Lease
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	if err := checkLease(&l); err != nil {
		return err
	}
	k.Leases = append(k.Leases, l)
	return nil
}

// checkLease says what in l cannot come from a store.
func checkLease(l *subnet.Lease) error {
	if !l.V4.Subnet.IsValid() && !l.V6.Subnet.IsValid() {
		return errors.New("a lease without a subnet")
	}
	if !isName(l.Node) || !isName(l.Backend) {
		return fmt.Errorf("%.60q, %.60q: want names of printable ASCII", l.Node, l.Backend)
	}
	for _, f := range [...]struct {
		endpoint subnet.Endpoint
		bits     int
	}{{l.V4, 32}, {l.V6, 128}} {
		if err := checkEndpoint(f.endpoint, f.bits); err != nil {
			return err
		}
	}
	return nil
}

func checkEndpoint(e subnet.Endpoint, bits int) error {
	const maxData = 16 << 10
	switch {
	case !e.Subnet.IsValid():
		if e != (subnet.Endpoint{}) {
			return errors.New("an uplink or data without a subnet")
		}
	case e.Subnet.Addr().BitLen() != bits || e.Subnet.Addr().Is4In6() || e.Subnet != e.Subnet.Masked():
		return fmt.Errorf("subnet %s: want a masked one of %d-bit addresses", e.Subnet, bits)
	case e.Uplink.IsValid() && (e.Uplink.BitLen() != bits || e.Uplink.Is4In6() || e.Uplink.Zone() != ""):
		return fmt.Errorf("uplink %s: want a plain address of %d bits", e.Uplink, bits)
	case len(e.Data) > maxData:
		return fmt.Errorf("data of %d bytes: want at most %d", len(e.Data), maxData)
	case e.Data != "" && !json.Valid([]byte(e.Data)):
		return fmt.Errorf("data %.60q: want JSON", e.Data)
	}
	return nil
}

// isName reports whether a store takes s for a name of a node or a backend.
func isName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) <= 253
}
