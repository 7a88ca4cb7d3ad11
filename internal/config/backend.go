// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Backend is the way to peers that the cluster has chosen. All but Type
// concern VXLAN and are zero for host-gw.
type Backend struct {
	Type          string // "vxlan" or "host-gw"
	VNI           int    // 1 to 1<<24 - 1
	Port          int    // UDP
	MTU           int    // of the underlay, in bytes; 0: the uplink's
	GBP           bool
	Learning      bool
	DirectRouting bool
	Unguarded     bool // tunnel packets of anybody are taken
}

// The types of Backend.
const (
	TypeVXLAN  = "vxlan"
	TypeHostGW = "host-gw"
)

// DefaultPort is the kernel's own, and flannel's; not the 4789 of RFC 7348.
const DefaultPort = 8472

// Bounds of the MTU of an underlay, in bytes. A host must take IPv4 packets of
// 576 (RFC 791) and IPv6 packets of 1280 (RFC 8200, section 5), which VXLAN over
// IPv6 makes 70 longer.
const (
	leastMTU   = 576
	leastMTUv6 = 1280 + 70
)

var (
	vxlanKeys = []string{"Type", "VNI", "Port", "MTU", "GBP", "Learning", "DirectRouting", "Guard"}
	// Known, and left to the cluster's Windows nodes.
	vxlanKeysElsewhere  = []string{"Name", "MacPrefix"}
	hostGWKeysElsewhere = []string{"Name", "DNSServerList"}
)

// instead says what to use in place of flannel's other backends, past ones too.
var instead = map[string]string{
	"udp":         `want "vxlan": udp is a slow path for debugging`,
	"ipsec":       `want "vxlan" for now: encryption is planned, with WireGuard`,
	"wireguard":   `want "vxlan" or "host-gw": WireGuard is planned, but not in this release`,
	"ipip":        `want "vxlan" or "host-gw": IPIP is planned, but not in this release`,
	"alloc":       `want "host-gw", or "vxlan" with "DirectRouting": true`,
	"extension":   `want "vxlan" or "host-gw": no commands are run for peers`,
	"tencent-vpc": `want "vxlan", or "host-gw" where nodes share a segment: no cloud routes are made`,
	"aws-vpc":     `want "vxlan", or "host-gw" where nodes share a segment: no cloud routes are made`,
	"gce":         `want "vxlan", or "host-gw" where nodes share a segment: no cloud routes are made`,
	"ali-vpc":     `want "vxlan", or "host-gw" where nodes share a segment: no cloud routes are made`,
}

// backend reads the key Backend. Without it the type is vxlan, as flannel
// documents, although flannel takes udp.
func (o object) backend() Backend {
	raw := o.get("Backend")
	if raw == nil {
		return Backend{Type: TypeVXLAN, VNI: 1, Port: DefaultPort}
	}
	b, ok := o.open("Backend.", raw)
	if !ok {
		return Backend{}
	}
	if b.blank("Type") {
		b.reject("Type", `want "vxlan" or "host-gw"`)
		return Backend{}
	}
	switch name := strings.ToLower(b.text("Type")); name {
	case TypeVXLAN:
		return b.vxlan()
	case TypeHostGW:
		b.expect(slices.Concat([]string{"Type"}, hostGWKeysElsewhere), func(name string) string {
			if indexFold(vxlanKeys, name) >= 0 {
				return ` with "host-gw": remove it`
			}
			return misplaced(name)
		})
		return Backend{Type: TypeHostGW}
	case "": // not a text: reported
	default:
		b.reject("Type", cmp.Or(instead[name], `want "vxlan" or "host-gw"`))
	}
	return Backend{}
}

func (o object) vxlan() Backend {
	o.expect(slices.Concat(vxlanKeys, vxlanKeysElsewhere), misplaced)
	b := Backend{Type: TypeVXLAN, VNI: 1}
	if vni, ok := o.number("VNI", limits{least: 1, most: 1<<24 - 1}); ok {
		b.VNI = vni
	}
	port, _ := o.number("Port", limits{least: 1, most: 65535, zero: "the default, 8472"})
	b.Port = cmp.Or(port, DefaultPort)
	b.MTU, _ = o.number("MTU", limits{least: leastMTU, most: 65535, zero: "the uplink's"})
	b.GBP = o.toggle("GBP", false)
	b.Learning = o.toggle("Learning", false)
	b.DirectRouting = o.toggle("DirectRouting", false)
	b.Unguarded = !o.toggle("Guard", true)
	return b
}

// misplaced is a hint for keys that stand in Backend and belong outside.
func misplaced(name string) string {
	if i := indexFold(netConfKeys, name); i >= 0 && netConfKeys[i] != "Backend" {
		return fmt.Sprintf(` in Backend: move %q out of it`, netConfKeys[i])
	}
	return ""
}
