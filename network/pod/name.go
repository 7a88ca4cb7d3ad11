// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/percale-net/percale/network"
)

// HostEnd returns the name and MAC of the node's end of the veth pair that
// leads to an interface of a container: "veth" and eleven hexadecimal digits,
// which fill the 15 bytes that a name can have.
func HostEnd(container, ifname string) (string, network.MAC) {
	// A container id has no zero byte, so no two pairs hash the same text.
	sum := sha256.Sum256([]byte(container + "\x00" + ifname))
	mac := network.MAC(sum[8:14])
	mac[0] = mac[0]&^0x01 | 0x02 // one interface, locally administered
	return "veth" + hex.EncodeToString(sum[:6])[:11], mac
}

// IsHostEnd reports whether a name has the form of those that HostEnd gives.
func IsHostEnd(name string) bool {
	digits, ok := strings.CutPrefix(name, "veth")
	return ok && len(digits) == 11 && strings.Trim(digits, "0123456789abcdef") == ""
}

// MAC returns the MAC of the interface that has the address: 0a:58 and the
// last four bytes, which tell the hosts of one subnet apart (a subnet so big
// that they do not would need four billion pods).
func MAC(a netip.Addr) network.MAC {
	m := network.MAC{0x0a, 0x58}
	b := a.AsSlice()
	copy(m[2:], b[len(b)-4:])
	return m
}
