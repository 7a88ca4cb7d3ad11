// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
)

// A VTEP is what a lease publishes of a tunnel endpoint.
type VTEP struct {
	VNI int // 0: not published
	MAC network.MAC
}

// The order of the fields is flannel's, which reads its own back by position.
type wireVTEP struct {
	VNI     int    `json:"VNI"`
	VtepMAC string `json:"VtepMAC"`
}

// maxData bounds what a peer may publish, in bytes; an honest VTEP takes 45.
const maxData = 1024

// ParseVTEP reads published backend data. It takes only an address that an
// interface can have: six bytes, unicast, not zero.
func ParseVTEP(data string) (VTEP, error) {
	if data == "" || data == "null" {
		return VTEP{}, errors.New(`no backend data: want {"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}`)
	}
	if len(data) > maxData {
		return VTEP{}, fmt.Errorf("backend data of %d bytes: want at most %d", len(data), maxData)
	}
	var w wireVTEP
	if err := json.Unmarshal([]byte(data), &w); err != nil {
		return VTEP{}, fmt.Errorf("backend data %.60q: %w", data, err)
	}
	mac, err := network.ParseMAC(w.VtepMAC)
	if err != nil {
		return VTEP{}, fmt.Errorf("VtepMAC: %w", err)
	}
	if mac.IsZero() || mac.IsGroup() {
		return VTEP{}, fmt.Errorf("VtepMAC %s: want a unicast address that is not zero", mac)
	}
	if w.VNI < 0 || w.VNI >= 1<<24 {
		return VTEP{}, fmt.Errorf("VNI %d: want 1 to 16777215", w.VNI)
	}
	return VTEP{VNI: w.VNI, MAC: mac}, nil
}

// String returns the VTEP as it is published.
func (v VTEP) String() string {
	return fmt.Sprintf(`{"VNI":%d,"VtepMAC":"%s"}`, v.VNI, v.MAC)
}

// Publish implements backend.Backend.
func (b Backend) Publish(self backend.Self) (v4, v6 string) {
	for f := range self.Families() {
		data := VTEP{VNI: b.VNI, MAC: b.ownMAC(self, f)}.String()
		data = withSource(data, f)
		if f.V6 {
			v6 = data
		} else {
			v4 = data
		}
	}
	return v4, v6
}

// DeriveMAC returns the MAC of a node's VTEP: locally administered, unicast,
// and the same after each reboot, because it depends on nothing else.
func DeriveMAC(node string, vni int, v6 bool) network.MAC {
	sum := sha256.Sum256(fmt.Appendf(nil, "percale vtep %q %d %t", node, vni, v6))
	mac := network.MAC(sum[:6])
	mac[0] = mac[0]&^0x01 | 0x02
	return mac
}
