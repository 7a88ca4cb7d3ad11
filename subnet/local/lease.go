// SPDX-License-Identifier: Apache-2.0

package local

import (
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

// SaveLease keeps our own lease for the next start, so that a reboot, or a
// store that has forgotten us, does not cost the pods their addresses. The file
// is replaced as a whole, and not touched if it says so already.
func SaveLease(stateDir string, own subnet.Lease) error {
	b, err := json.MarshalIndent(own, "", "  ")
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
	var own subnet.Lease
	if err := json.Unmarshal(b, &own); err != nil {
		return subnet.Lease{}, fmt.Errorf("load own lease: %s is damaged (%w): remove it", path, err)
	}
	if own.Node != node {
		return subnet.Lease{}, fmt.Errorf("load own lease: %s is of node %.253q, and this is %q: remove it", path, own.Node, node)
	}
	for e := range own.Endpoints() {
		if e.Subnet != e.Subnet.Masked() {
			return subnet.Lease{}, fmt.Errorf("load own lease: %s is damaged (subnet %s has host bits): remove it", path, e.Subnet)
		}
	}
	return own, nil
}
