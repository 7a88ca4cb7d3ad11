// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/percale-net/percale/subnet/local"
)

// A flannelState is what flannel's plugin keeps of a container: the
// configuration of the plugin that it called, in a file named by the container.
type flannelState struct {
	Name string `json:"name"`
	Type string `json:"type"`
	IPAM struct {
		DataDir string `json:"dataDir"`
	} `json:"ipam"`
}

// readFlannelState returns the state of a container in a network; not ok if
// there is none, or of another network.
func readFlannelState(dir, network, container string) (s flannelState, ok bool) {
	f, err := os.Open(filepath.Join(dir, container))
	if err != nil {
		return flannelState{}, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil || json.Unmarshal(b, &s) != nil || s.Name != network {
		return flannelState{}, false
	}
	return s, true
}

// store returns where the plugin that flannel's called kept the addresses.
func (s flannelState) store() (local.Store, error) { return local.NewStore(s.IPAM.DataDir, s.Name) }

// removeFlannelState forgets a container, which has nothing of the network left.
func removeFlannelState(dir, network, container string) error {
	if _, ok := readFlannelState(dir, network, container); !ok {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, container)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeFlannelStates forgets all containers without a valid attachment.
func removeFlannelStates(dir, network string, valid attachments) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // flannel was never here
	}
	var errs []error
	for _, e := range entries {
		own := local.Owner{Container: e.Name()}
		if e.Type().IsRegular() && !valid[own] {
			errs = append(errs, removeFlannelState(dir, network, e.Name()))
		}
	}
	return errors.Join(errs...)
}
