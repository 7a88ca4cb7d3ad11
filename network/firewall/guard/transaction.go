// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall/nfattr"
)

// errNoAnswer says that the kernel took a transaction and said nothing of it.
var errNoAnswer = errors.New("the kernel did not say what became of the elements")

// add adds all elements that are wanted, in one transaction, in the network
// namespace of the calling thread. Without the tables it is unix.ENOENT. The
// library does so too, but asks for an answer to each message and waits for it
// in several goroutines: ADD, which does nothing else here, would notice.
func (p *pods) add() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return explain(fmt.Errorf("open netlink socket: %w", err))
	}
	defer unix.Close(fd)
	b, last := p.encode()
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return explain(fmt.Errorf("send elements: %w", err))
	}
	return explain(answer(fd, last))
}

// answer returns what the kernel says of a transaction, of which the message
// with the number last asks for an answer. Errors are told unasked, and before.
// All that there is to receive waits already.
func answer(fd int, last uint32) error {
	b := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return errNoAnswer
		case err != nil:
			return fmt.Errorf("receive from the kernel: %w", err)
		}
		// Each answer comes alone: header, error number, header of what it answers.
		if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
			continue
		}
		if code := int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); code != 0 {
			return unix.Errno(-code)
		}
		if binary.NativeEndian.Uint32(b[8:]) == last {
			return nil
		}
	}
}

// encode returns the messages of a transaction that adds all elements, and the
// number of the last one that does.
func (p *pods) encode() (b []byte, last uint32) {
	const table = unix.NFNL_SUBSYS_NFTABLES
	begin := message{typ: unix.NFNL_MSG_BATCH_BEGIN, resource: table}
	all := []message{begin}
	for _, t := range p.tables() {
		for _, s := range t.sets {
			if len(s.want) > 0 {
				all = append(all, message{
					typ: table<<8 | unix.NFT_MSG_NEWSETELEM, flags: unix.NLM_F_CREATE, family: byte(t.Family), attrs: s.attrs(),
				})
			}
		}
	}
	last = uint32(len(all) - 1)
	all[last].flags |= unix.NLM_F_ACK
	for i, m := range append(all, message{typ: unix.NFNL_MSG_BATCH_END, resource: table}) {
		b = m.append(b, uint32(i))
	}
	return b, last
}

// attrs returns the attributes of a message about all elements of s.
func (s *set) attrs() []byte {
	var list []byte
	for k := range s.want {
		key := nfattr.Append(nil, unix.NFTA_DATA_VALUE, []byte(k))
		key = nfattr.Append(nil, unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, key)
		list = nfattr.Append(list, unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, key)
	}
	b := nfattr.Append(nil, unix.NFTA_SET_ELEM_LIST_TABLE, []byte(s.Table.Name+"\x00"))
	b = nfattr.Append(b, unix.NFTA_SET_ELEM_LIST_SET, []byte(s.Name+"\x00"))
	return nfattr.Append(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, list)
}

// A message is one of a transaction.
type message struct {
	typ, flags uint16
	family     byte
	resource   uint16 // the subsystem that the transaction is for
	attrs      []byte
}

// append appends m under a number, which differs from that of all others of the
// transaction.
func (m message) append(b []byte, number uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+nfgenHeader+len(m.attrs)))
	b = binary.NativeEndian.AppendUint16(b, m.typ)
	b = binary.NativeEndian.AppendUint16(b, m.flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, number)
	b = append(b, 0, 0, 0, 0, m.family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, m.resource)
	return append(b, m.attrs...)
}
