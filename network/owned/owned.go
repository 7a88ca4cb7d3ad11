// SPDX-License-Identifier: Apache-2.0

// Package owned says what of a kernel an agent has made: the overlay devices
// and the pod networks of its plans, of now and of before. A device has no
// mark, so that what an earlier configuration left can be told from a
// stranger's only by such a record. It lives as long as the kernel's state
// does: until the next boot.
package owned

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/percale-net/percale/network"
)

// most bounds each list of a Record. Beyond it the oldest entries are
// forgotten; an agent comes there only by that many configurations none of
// which the kernel took.
const most = 64

// A Record is what may be in the kernel by an agent's doing.
type Record struct {
	Devices  []Device       `json:"devices"`
	Networks []netip.Prefix `json:"networks"` // routes with our protocol to destinations inside are ours
}

// A Device is an overlay device: its name, and what it is for good.
type Device struct {
	Name string `json:"name"`
	VNI  int    `json:"vni"`
	Port int    `json:"port"`
	IPv6 bool   `json:"ipv6"` // the family of the underlay
}

// Of returns what a plan makes ours.
func Of(want network.State, networks []netip.Prefix) Record {
	r := Record{Networks: networks}
	for _, name := range slices.Sorted(maps.Keys(want.Links)) {
		if l := want.Links[name]; l.Kind == network.KindVXLAN {
			r.Devices = append(r.Devices, deviceOf(l))
		}
	}
	return r
}

func deviceOf(l network.Link) Device {
	return Device{Name: l.Name, VNI: l.VXLAN.VNI, Port: l.VXLAN.Port, IPv6: l.VXLAN.Local.Is6()}
}

// With returns r and what of o it lacks, the newest last.
func (r Record) With(o Record) Record {
	return Record{union(r.Devices, o.Devices), union(r.Networks, o.Networks)}
}

// Without returns what r has and o has not.
func (r Record) Without(o Record) Record {
	return Record{less(r.Devices, o.Devices), less(r.Networks, o.Networks)}
}

// Empty reports whether nothing is ours.
func (r Record) Empty() bool { return len(r.Devices) == 0 && len(r.Networks) == 0 }

// Equal reports whether both say the same, in whatever order.
func (r Record) Equal(o Record) bool { return r.Without(o).Empty() && o.Without(r).Empty() }

// In returns the devices that are still what was recorded. One that is gone, or
// whose name another link bears by now, is not ours any more.
func (r Record) In(links map[string]network.Link) []Device {
	var there []Device
	for _, d := range r.Devices {
		if l := links[d.Name]; l.Kind == network.KindVXLAN && deviceOf(l) == d {
			there = append(there, d)
		}
	}
	slices.SortFunc(there, func(a, b Device) int { return cmp.Compare(a.Name, b.Name) })
	return there
}

func union[E comparable](a, b []E) []E {
	all := append(less(a, b), b...)
	return all[max(0, len(all)-most):]
}

func less[E comparable](a, b []E) []E {
	return slices.DeleteFunc(slices.Clone(a), func(e E) bool { return slices.Contains(b, e) })
}
