// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/percale-net/percale/subnet/local"
)

// flannelType is the type of configurations that are flannel's.
const flannelType = "flannel"

// A flannelState is what flannel's plugin keeps of a container: the
// configuration of the plugin that it called, in a file named by the container.
type flannelState struct {
	Name string `json:"name"`
	Type string `json:"type"`
	IPAM struct {
		DataDir string `json:"dataDir"`
	} `json:"ipam"`
}

// writeFlannelState keeps of a container what flannel's plugin would, so that it
// can delete the pod when a node goes back to it.
func writeFlannelState(c config, p plan, container string) error {
	var ranges []any
	for _, r := range p.ranges {
		ranges = append(ranges, []any{map[string]string{"subnet": r.Subnet.String()}})
	}
	var where struct {
		DataDir string `json:"dataDir,omitempty"`
	}
	if err := decode("ipam.", c.IPAM, &where); err != nil {
		return err
	}
	b, err := json.Marshal(map[string]any{
		"cniVersion": c.CNIVersion, "name": c.Name, "type": "bridge", "bridge": p.bridge.Name, "mtu": p.bridge.MTU,
		"isGateway": len(p.bridge.Gateways) > 0, "hairpinMode": p.bridge.Hairpin, "ipMasq": false,
		"ipam": map[string]any{"type": "host-local", "dataDir": cmp.Or(where.DataDir, local.DataDir), "ranges": ranges},
	})
	if err == nil {
		err = os.MkdirAll(c.DataDir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(c.DataDir, container), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep state as flannel's plugin does: %w", err)
	}
	return nil
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
