// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// A link is a network.Link as the kernel tells it: with numbers for names.
type link struct {
	network.Link
	index, master, underlay int32
	loopback                bool
	alias                   string
}

// Links reads all links, by name.
func (c *Conn) Links(ctx context.Context) (map[string]network.Link, error) {
	links, err := c.links(ctx)
	if err != nil {
		return nil, err
	}
	m := make(map[string]network.Link, len(links))
	for _, l := range links {
		m[l.Name] = l.Link
	}
	return m, nil
}

// links reads all links in the kernel's order, by index.
func (c *Conn) links(ctx context.Context) ([]link, error) {
	var e encoder
	e.begin(unix.RTM_GETLINK, dumpAll)
	e.ifInfo(ifInfo{})
	e.u32(unix.IFLA_EXT_MASK, skipStats)
	e.end()
	links, err := dump(ctx, c.sock, e.buf, decodeLink)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := make(map[int32]string, len(links))
	for _, l := range links {
		names[l.index] = l.Name
	}
	for i := range links {
		l := &links[i]
		l.Master, l.VXLAN.Underlay = names[l.master], names[l.underlay]
	}
	return links, nil
}

// link reads one link, for a fraction of what reading all takes on a node full
// of pods; ENODEV if there is none of that name.
func (c *Conn) link(name string) (link, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return link{}, unix.ENODEV
	}
	l, err := c.askLink(ifInfo{}, name)
	if err == nil && l.master != 0 {
		l.Master, err = c.name(l.master)
	}
	if err == nil && l.underlay != 0 {
		l.VXLAN.Underlay, err = c.name(l.underlay)
	}
	return l, err
}

// name returns the name of a link, "" if it is gone.
func (c *Conn) name(index int32) (string, error) {
	l, err := c.askLink(ifInfo{index: index}, "")
	if gone(err) {
		return "", nil
	}
	return l.Name, err
}

// index returns the number of the link of that name; ENODEV if there is none.
func (c *Conn) index(name string) (int32, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return 0, unix.ENODEV
	}
	l, err := c.askLink(ifInfo{}, name)
	return l.index, err
}

// askLink asks for one link by number or by name.
func (c *Conn) askLink(i ifInfo, name string) (l link, err error) {
	var e encoder
	e.begin(unix.RTM_GETLINK, 0)
	e.ifInfo(i)
	if name != "" {
		e.name(unix.IFLA_IFNAME, name)
	}
	e.u32(unix.IFLA_EXT_MASK, skipStats)
	e.end()
	found := false
	err = c.sock.ask(e.buf, func(body []byte) { l, found = decodeLink(body) })
	if err == nil && !found {
		err = unix.ENODEV
	}
	return l, err
}

// decodeLink reads an RTM_NEWLINK message.
func decodeLink(b []byte) (l link, ok bool) {
	if len(b) < ifInfoLen {
		return link{}, false
	}
	flags := native.Uint32(b[8:])
	l.index = int32(native.Uint32(b[4:]))
	l.Up, l.Promisc = flags&unix.IFF_UP != 0, flags&unix.IFF_PROMISC != 0
	l.loopback = flags&unix.IFF_LOOPBACK != 0
	for typ, v := range attrs(b[ifInfoLen:]) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = textOf(v)
		case unix.IFLA_IFALIAS:
			l.alias = textOf(v)
		case unix.IFLA_MTU:
			l.MTU = int(u32Of(v))
		case unix.IFLA_ADDRESS:
			if len(v) == len(l.MAC) {
				copy(l.MAC[:], v)
			}
		case unix.IFLA_MASTER:
			l.master = int32(u32Of(v))
		case unix.IFLA_LINKINFO:
			l.decodeInfo(v)
		}
	}
	return l, l.Name != ""
}

// decodeInfo reads IFLA_LINKINFO: what the link's kind, and its master's kind,
// say of it.
func (l *link) decodeInfo(b []byte) {
	var data, port []byte
	var master string
	for typ, v := range attrs(b) {
		switch typ {
		case unix.IFLA_INFO_KIND:
			l.Kind = textOf(v)
		case unix.IFLA_INFO_DATA:
			data = v
		case unix.IFLA_INFO_SLAVE_KIND:
			master = textOf(v)
		case unix.IFLA_INFO_SLAVE_DATA:
			port = v
		}
	}
	if l.Kind == network.KindVXLAN {
		l.decodeVXLAN(data)
	}
	if master != network.KindBridge {
		return
	}
	for typ, v := range attrs(port) {
		if typ == unix.IFLA_BRPORT_MODE {
			l.Hairpin = len(v) > 0 && v[0] != 0
		}
	}
}

func (l *link) decodeVXLAN(b []byte) {
	for typ, v := range attrs(b) {
		switch typ {
		case unix.IFLA_VXLAN_ID:
			l.VXLAN.VNI = int(u32Of(v))
		case unix.IFLA_VXLAN_PORT:
			if len(v) >= 2 {
				l.VXLAN.Port = int(binary.BigEndian.Uint16(v))
			}
		case unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6:
			l.VXLAN.Local, _ = addrOf(v)
		case unix.IFLA_VXLAN_LINK:
			l.underlay = int32(u32Of(v))
		case unix.IFLA_VXLAN_LEARNING:
			l.VXLAN.Learning = len(v) > 0 && v[0] != 0
		case unix.IFLA_VXLAN_GBP:
			l.VXLAN.GBP = true // its presence says it
		}
	}
}

// An ifInfo is the fixed part of a link message.
type ifInfo struct {
	family        uint8
	index         int32
	flags, change uint32
}

func (e *encoder) ifInfo(i ifInfo) {
	e.buf = append(e.buf, i.family, 0, 0, 0)
	e.buf = native.AppendUint32(e.buf, uint32(i.index))
	e.buf = native.AppendUint32(e.buf, i.flags)
	e.buf = native.AppendUint32(e.buf, i.change)
}
