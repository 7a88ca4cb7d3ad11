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
	"path/filepath"
	"time"

	"github.com/percale-net/percale/subnet"
)

// Limits of peers.json. A lease takes some 200 bytes there.
const (
	maxPeers     = 32 << 20  // bytes of the file
	maxPeersLine = 256 << 10 // bytes of one line; the longest holds a net-conf
	maxLeases    = 100_000
	peersVersion = 1
)

// A Known is what a node knows of its cluster: what it works by while the store
// is away, from its start on.
type Known struct {
	Node   string         // this node
	Store  string         // which store told it, such as "etcd /coreos.com/network"
	Conf   []byte         // the network configuration as the store had it
	Leases []subnet.Lease // of all nodes
	At     time.Time      // when the store last confirmed it; kept as the file's time of change
}

// A peersHeader is the first line of peers.json. One line per lease follows,
// and then the number of leases and the SHA-256 of all before.
type peersHeader struct {
	Version int
	Node    string
	Store   string
	Conf    []byte
}

func peersPath(stateDir string) string { return filepath.Join(stateDir, "peers.json") }

// SavePeers keeps k for the next start. The file is replaced as a whole; where
// it holds k already, only its time is set. A lease that LoadPeers would take
// for damage, such as one without a subnet, is left out. It blocks for some
// tens of milliseconds and an fsync; one call at a time.
func SavePeers(stateDir string, k Known) error {
	path := peersPath(stateDir)
	if !holdsPeers(path, k) {
		err := replaceFile(path, func(w io.Writer) error { return writePeers(w, k) })
		if err != nil {
			return fmt.Errorf("save known peers: %w", err)
		}
	}
	return TouchPeers(stateDir, k.At)
}

// TouchPeers notes that what SavePeers wrote last was still right at the time.
func TouchPeers(stateDir string, at time.Time) error {
	if err := os.Chtimes(peersPath(stateDir), at, at); err != nil {
		return fmt.Errorf("save known peers: set their age: %w", err)
	}
	return nil
}

// holdsPeers reports whether the file at path is just what SavePeers would
// write.
func holdsPeers(path string, k Known) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	c := &comparer{r: f}
	if err := writePeers(c, k); err != nil {
		return false
	}
	_, err = f.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// A comparer takes what r holds, and refuses all else.
type comparer struct {
	r   io.Reader
	buf []byte
}

var errDiffers = errors.New("the content differs")

func (c *comparer) Write(b []byte) (int, error) {
	if len(c.buf) < len(b) {
		c.buf = make([]byte, len(b))
	}
	have := c.buf[:len(b)]
	if _, err := io.ReadFull(c.r, have); err != nil {
		return 0, err
	}
	if !bytes.Equal(have, b) {
		return 0, errDiffers
	}
	return len(b), nil
}

// writePeers writes the content of peers.json. Nothing grows with it but what w
// holds.
func writePeers(w io.Writer, k Known) error {
	sum, size := sha256.New(), &counter{}
	buffered := bufio.NewWriterSize(io.MultiWriter(w, sum, size), 64<<10)
	lines := json.NewEncoder(buffered)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(peersHeader{peersVersion, k.Node, k.Store, k.Conf}); err != nil {
		return err
	}
	n := 0
	for i := range k.Leases {
		if checkLease(&k.Leases[i]) != nil {
			continue
		}
		if n++; n > maxLeases {
			return fmt.Errorf("more than %d leases", maxLeases)
		}
		if err := lines.Encode(&k.Leases[i]); err != nil {
			return err
		}
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	last := peersEnd(n, sum.Sum(nil))
	if size.n+len(last) > maxPeers {
		return fmt.Errorf("more than %d MiB", maxPeers>>20)
	}
	_, err := w.Write(last)
	return err
}

// peersEnd returns the last line of peers.json.
func peersEnd(leases int, sum []byte) []byte {
	return fmt.Appendf(nil, "{\"Leases\":%d,\"SHA256\":\"%x\"}\n", leases, sum)
}

// A counter counts what is written.
type counter struct{ n int }

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}
