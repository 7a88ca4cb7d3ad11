// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"cmp"
	"fmt"
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
// expect, or where a stranger bears that, another.
func (b Backend) deviceName(self backend.Self, f backend.Family) string {
	usual := usualName(b.VNI, f.V6)
	if b.is(self.Links[usual], f) {
		return usual
	}
	spare := spareName(b.VNI, f.V6)
	if b.is(self.Links[spare], f) {
		return spare
	}
	found := ""
	for other, l := range self.Links {
		if b.is(l, f) && (found == "" || other < found) {
			found = other
		}
	}
	switch {
	case found != "":
		return found
	case b.stranger(self, f, usual) != "":
		return spare
	}
	return usual
}

// is reports whether a link is the family's tunnel device. One without an
// address of its own sends from whichever fits, over IPv4.
func (b Backend) is(l network.Link, f backend.Family) bool {
	v := l.VXLAN
	return l.Kind == network.KindVXLAN && v.VNI == b.VNI && v.Port == b.Port && v.Local.Is6() == f.V6
}

// stranger says what bears the name and is not ours to change, "" for nothing.
// A VXLAN of our VNI and family is ours, if it must be made anew, too.
func (b Backend) stranger(self backend.Self, f backend.Family, name string) string {
	l, taken := self.Links[name]
	v := l.VXLAN
	switch {
	case !taken || b.is(l, f):
		return ""
	case l.Kind == "":
		return "a device of another kind"
	case l.Kind != network.KindVXLAN:
		return "of kind " + l.Kind
	case v.VNI != b.VNI:
		return fmt.Sprintf("a vxlan with VNI %d", v.VNI)
	case v.Local.IsValid() && v.Local.Is6() != f.V6:
		return "the vxlan of the other address family"
	}
	return ""
}

// Notes says which device does not have its usual name, and why.
func (b Backend) Notes(self backend.Self) []string {
	var notes []string
	for f := range self.Families() {
		usual, name := usualName(b.VNI, f.V6), b.deviceName(self, f)
		if what := b.stranger(self, f, usual); what != "" {
			notes = append(notes, fmt.Sprintf("%s is %s and not ours; the overlay device is %s", usual, what, name))
		}
	}
	return notes
}

// usualName returns flannel.<VNI> or flannel-v6.<VNI>, shortened where the
// kernel would not take it.
func usualName(vni int, v6 bool) string {
	if v6 {
		return shorter("flannel-v6.", "fl6.", vni)
	}
	return shorter("flannel.", "fl.", vni)
}

// spareName returns percale.<VNI> or percale6.<VNI>, shortened likewise.
func spareName(vni int, v6 bool) string {
	if v6 {
		return shorter("percale6.", "pc6.", vni)
	}
	return shorter("percale.", "pc.", vni)
}

func shorter(long, short string, vni int) string {
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
