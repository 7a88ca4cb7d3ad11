// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"cmp"
	"strconv"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
)

// maxName is the longest name of a link, in bytes (IFNAMSIZ less the zero).
const maxName = 15

// device returns the wish for the family's tunnel device. One that the kernel
// has already is adopted under its own name.
func (b Backend) device(self backend.Self, f backend.Family) network.Link {
	return network.Link{
		Name: b.deviceName(self, f),
		Kind: network.KindVXLAN,
		MTU:  b.deviceMTU(self, f.V6),
		MAC:  b.ownMAC(self, f),
		Up:   true,
		VXLAN: network.VXLAN{
			VNI:      b.VNI,
			Port:     b.Port,
			Local:    f.Local, // never the published address: NAT may stand between
			Underlay: self.Uplink.Name,
			Learning: b.Learning,
			GBP:      b.GBP,
		},
	}
}

// deviceName finds the device by what it is: the kernel allows one with this
// VNI and port per family. Otherwise it is the name that tools and runbooks
// expect.
func (b Backend) deviceName(self backend.Self, f backend.Family) string {
	name := defaultName(b.VNI, f.V6)
	if b.is(self.Links[name], f) {
		return name
	}
	found := ""
	for other, l := range self.Links {
		if b.is(l, f) && (found == "" || other < found) {
			found = other
		}
	}
	return cmp.Or(found, name)
}

func (b Backend) is(l network.Link, f backend.Family) bool {
	v := l.VXLAN
	return l.Kind == network.KindVXLAN && v.VNI == b.VNI && v.Port == b.Port &&
		v.Local.IsValid() && v.Local.Is6() == f.V6
}

// defaultName returns flannel.<VNI> or flannel-v6.<VNI>, shortened where the
// kernel would not take it.
func defaultName(vni int, v6 bool) string {
	long, short := "flannel.", "fl."
	if v6 {
		long, short = "flannel-v6.", "fl6."
	}
	n := strconv.Itoa(vni)
	if len(long)+len(n) <= maxName {
		return long + n
	}
	return short + n
}

// ownMAC keeps the MAC that our lease published, so that peers need not learn
// a new one; else it is derived from what does not change with a reboot.
func (b Backend) ownMAC(self backend.Self, f backend.Family) network.MAC {
	if v, err := ParseVTEP(f.Own.Data); err == nil && cmp.Or(v.VNI, b.VNI) == b.VNI {
		return v.MAC
	}
	return DeriveMAC(self.Node, b.VNI, f.V6)
}
