// SPDX-License-Identifier: Apache-2.0

package local

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/percale-net/percale/subnet"
)

// maxLease bounds lease.json, in bytes. A real one has some 300.
const maxLease = 16 << 10

// leasePath returns where the state directory holds our own lease.
func leasePath(stateDir string) string { return filepath.Join(stateDir, "lease.json") }

// A savedLease is the content of lease.json.
type savedLease struct {
	subnet.Lease
	SHA256 string `json:",omitempty"` // of the lease as json.Marshal writes it; "" in files of older versions
}

func seal(own subnet.Lease) (savedLease, error) {
	b, err := json.Marshal(own)
	return savedLease{own, fmt.Sprintf("%x", sha256.Sum256(b))}, err
}

// SaveLease keeps our own lease for the next start, so that a reboot, or a
// store that has forgotten us, does not cost the pods their addresses. The file
// is replaced as a whole, and not touched if it says so already.
func SaveLease(stateDir string, own subnet.Lease) error {
	sealed, err := seal(own)
	if err != nil {
		return fmt.Errorf("save own lease: %w", err)
	}
	b, err := json.MarshalIndent(sealed, "", "  ")
	if err != nil {
		return fmt.Errorf("save own lease: %w", err)
	}
	if err := writeFile(leasePath(stateDir), append(b, '\n')); err != nil {
		return fmt.Errorf("save own lease: %w", err)
	}
	return nil
}

// LoadLease returns the lease that SaveLease kept for the node; the zero Lease
// if there is none. A file that cannot be read, or is of another node, as in an
// image taken from a running machine, is an error.
func LoadLease(stateDir, node string) (subnet.Lease, error) {
	path := leasePath(stateDir)
	b, err := readFile(path, maxLease)
	if errors.Is(err, fs.ErrNotExist) {
		return subnet.Lease{}, nil
	}
	if err != nil {
		return subnet.Lease{}, fmt.Errorf("load own lease: %w", err)
	}
	return parseLease(b, path, node)
}

func parseLease(b []byte, path, node string) (subnet.Lease, error) {
	damaged := func(cause error) error {
		return fmt.Errorf("load own lease: %s is damaged (%w): remove it: rm %s", path, cause, path)
	}
	var saved savedLease
	if err := json.Unmarshal(b, &saved); err != nil {
		return subnet.Lease{}, damaged(err)
	}
	own := saved.Lease
	sealed, err := seal(own)
	switch {
	case err != nil:
		return subnet.Lease{}, damaged(err)
	case saved.SHA256 != "" && saved.SHA256 != sealed.SHA256:
		return subnet.Lease{}, damaged(errChecksum)
	case own.Node != node:
		return subnet.Lease{}, fmt.Errorf("load own lease: %s is of node %.253q, and this is %q: remove it: rm %s", path, own.Node, node, path)
	}
	for e := range own.Endpoints() {
		if e.Subnet != e.Subnet.Masked() {
			return subnet.Lease{}, damaged(fmt.Errorf("subnet %s has host bits", e.Subnet))
		}
	}
	return own, nil
}
