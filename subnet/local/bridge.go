// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of bridge.json. A bridge has at most 1024 ports (BR_MAX_PORTS); each
// takes some 30 bytes.
const (
	maxBridge   = 64 << 10
	maxPorts    = 1024
	maxGateways = 256
)

// A Bridge is what the agent must know of the pods' bridge to make it again.
type Bridge struct {
	Name     string          `json:"name"`
	MAC      string          `json:"mac"` // aa:bb:cc:dd:ee:ff
	Promisc  bool            `json:"promisc"`
	Gateways []netip.Prefix  `json:"gateways"` // addresses with the length of their subnet
	Ports    map[string]bool `json:"ports"`    // by name: hairpin
}

// bridgePath returns where the run directory holds the bridge. It goes with a
// reboot, as the bridge does.
func bridgePath(runDir string) string { return filepath.Join(runDir, "bridge.json") }

// SaveBridge keeps b for the next start of the agent: somebody may delete the
// bridge while none runs. The zero Bridge removes the file. The file is
// replaced as a whole, and not touched if it says so already.
func SaveBridge(runDir string, b Bridge) error {
	if b.Name == "" {
		err := os.Remove(bridgePath(runDir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget the pods' bridge: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("save the pods' bridge: %w", err)
	}
	if err := writeFile(bridgePath(runDir), append(text, '\n')); err != nil {
		return fmt.Errorf("save the pods' bridge: %w", err)
	}
	return nil
}

// LoadBridge returns what SaveBridge kept; the zero Bridge if there is none. A
// damaged file is an error.
func LoadBridge(runDir string) (Bridge, error) {
	path := bridgePath(runDir)
	text, err := readFile(path, maxBridge)
	if errors.Is(err, fs.ErrNotExist) {
		return Bridge{}, nil
	}
	if err != nil {
		return Bridge{}, fmt.Errorf("load the pods' bridge: %w", err)
	}
	b, err := parseBridge(text)
	if err != nil {
		return Bridge{}, fmt.Errorf("load the pods' bridge: %s is damaged: %w: remove it", path, err)
	}
	return b, nil
}

// parseBridge takes only what SaveBridge may have written: the agent acts on it
// with all its rights.
func parseBridge(text []byte) (Bridge, error) {
	var b Bridge
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return Bridge{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Bridge{}, errors.New("more follows what was to be all")
	}
	mac, err := net.ParseMAC(b.MAC)
	switch {
	case err != nil || len(mac) != 6 || len(b.MAC) != 17 || mac[0]&1 != 0:
		return Bridge{}, fmt.Errorf("mac %.40q: want six bytes as 02:00:00:00:00:01, of one station", b.MAC)
	case !isLinkName(b.Name):
		return Bridge{}, fmt.Errorf("name %.40q: want the name of a link", b.Name)
	case len(b.Ports) > maxPorts || len(b.Gateways) > maxGateways:
		return Bridge{}, fmt.Errorf("%d ports and %d gateways: want at most %d and %d", len(b.Ports), len(b.Gateways), maxPorts, maxGateways)
	}
	for name := range b.Ports {
		if !isLinkName(name) || name == b.Name {
			return Bridge{}, fmt.Errorf("port %.40q: want the name of another link", name)
		}
	}
	for _, g := range b.Gateways {
		if !g.IsValid() || g.Addr().Is4In6() || g.Addr().IsMulticast() || g.Addr().IsUnspecified() {
			return Bridge{}, fmt.Errorf("gateway %s: want an address with a length", g)
		}
	}
	return b, nil
}

// isLinkName reports whether the kernel allows the name (dev_valid_name), and
// it stands for one link where settings are: "all" and "default" do not.
func isLinkName(s string) bool {
	switch s {
	case "", ".", "..", "all", "default":
		return false
	}
	return len(s) < 16 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == ':' })
}
