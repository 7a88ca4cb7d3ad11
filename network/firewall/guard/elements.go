// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall/nfattr"
)

// nfgenHeader is what precedes the attributes of each message about rules
// (struct nfgenmsg), in bytes.
const nfgenHeader = 4

// dumps bounds how often a list is read again because it changed meanwhile.
const dumps = 10

var errInterrupted = errors.New("the list changed each time while it was read")

// readKeys returns the keys of a set in the network namespace of the calling
// thread. The library would do so too, in twenty times the time, which counts
// with thousands of peers.
func (s *set) readKeys() (keys, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	for range dumps {
		messages, err := s.dump(c)
		if err != nil {
			return nil, fmt.Errorf("dump: %w", err)
		}
		if !slices.ContainsFunc(messages, interrupted) {
			return s.parse(messages), nil
		}
	}
	return nil, fmt.Errorf("dump: %w", errInterrupted)
}

// interrupted reports whether a message says that its list is of two moments.
func interrupted(m netlink.Message) bool { return m.Header.Flags&netlink.DumpInterrupted != 0 }

func (s *set) dump(c *netlink.Conn) ([]netlink.Message, error) {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: []byte(s.Table.Name + "\x00")},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: []byte(s.Name + "\x00")},
	})
	if err != nil {
		return nil, err
	}
	return c.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSETELEM),
			Flags: netlink.Request | netlink.Dump,
		},
		Data: append([]byte{byte(s.Table.Family), unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
}

// parse returns the keys in messages. What is none is left out.
func (s *set) parse(messages []netlink.Message) keys {
	found := make(keys, len(s.want))
	for _, m := range messages {
		if len(m.Data) < nfgenHeader {
			continue
		}
		for kind, list := range nfattr.All(m.Data[nfgenHeader:]) {
			if kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for _, element := range nfattr.All(list) {
				if key := nfattr.Find(nfattr.Find(element, unix.NFTA_SET_ELEM_KEY), unix.NFTA_DATA_VALUE); key != nil {
					found.add(key)
				}
			}
		}
	}
	return found
}
