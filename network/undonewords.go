// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"strconv"
	"strings"
)

// The names of entries: what ip and bridge select one by.

func nameLink(l Link) string         { return l.Name }
func nameAddress(a Address) string   { return a.Prefix.String() + " dev " + a.Link }
func nameSysctl(s Sysctl) string     { return s.Path }
func nameRoute(r Route) string       { return r.Dst.String() }
func nameNeighbor(n Neighbor) string { return n.IP.String() + " dev " + n.Link }
func nameForward(f Forward) string   { return f.MAC.String() + " dev " + f.Link }

// What was found in an entry's place.

func nothing(Address) string          { return "" }
func foundSysctl(s Sysctl) string     { return s.Value }
func foundNeighbor(n Neighbor) string { return "lladdr " + n.MAC.String() }

func foundForward(f Forward) string {
	if !f.Dst.IsValid() {
		return "no single destination"
	}
	return "dst " + f.Dst.String()
}

// way says where r leads and who installed it, as "ip route" shows it.
func (r Route) way() string {
	var words []string
	switch {
	case r.Blackhole:
		words = append(words, "blackhole")
	case r.Via.IsValid():
		words = append(words, "via "+r.Via.String())
	case r.Onlink:
		words = append(words, "several or special next hops")
	}
	if r.Link != "" {
		words = append(words, "dev "+r.Link)
	}
	return strings.Join(append(words, "proto "+ProtocolName(r.Protocol)), " ")
}

// foundInstead lists in what have differs from the wish l.
func (l Link) foundInstead(have Link) string {
	var words []string
	note := func(differs bool, format string, args ...any) {
		if differs {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	if l.Kind != have.Kind {
		return "a device of kind " + orWord(have.Kind, "unknown")
	}
	note(l.Up != have.Up, "%s", upWord(have.Up))
	note(l.MTU != 0 && l.MTU != have.MTU, "mtu %d", have.MTU)
	note(!l.MAC.IsZero() && l.MAC != have.MAC, "address %s", have.MAC)
	note(l.Master != have.Master, "master %s", orWord(have.Master, "none"))
	note(l.Hairpin != have.Hairpin, "hairpin %s", onWord(have.Hairpin))
	note(l.Promisc != have.Promisc, "promisc %s", onWord(have.Promisc))
	w, h := l.VXLAN, have.VXLAN
	note(w.VNI != h.VNI, "vxlan id %d", h.VNI)
	note(w.Port != h.Port, "dstport %d", h.Port)
	note(w.Local != h.Local, "local %s", h.Local)
	note(w.Underlay != h.Underlay, "vxlan dev %s", orWord(h.Underlay, "none"))
	note(w.Learning != h.Learning, "learning %s", onWord(h.Learning))
	note(w.GBP != h.GBP, "gbp %s", onWord(h.GBP))
	return strings.Join(words, ", ")
}

func orWord(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func upWord(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func onWord(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// ProtocolName returns a route protocol as "ip route" names it, with its number:
// "bird (12)", but "77". The names are those of linux/rtnetlink.h and of
// rt_protos in iproute2.
func ProtocolName(p uint8) string {
	number := strconv.Itoa(int(p))
	name, ok := map[uint8]string{
		0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static",
		8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk",
		16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 84: "ovn", 99: "openr",
		186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
	}[p]
	if !ok {
		return number
	}
	return name + " (" + number + ")"
}
