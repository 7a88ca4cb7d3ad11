// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall/nfattr"
)

// A hearing is what Watch and Sync tell each other.
type hearing struct {
	mu    sync.Mutex
	gates map[gateName]bool // chains of others that Sync found
	ports []uint32          // netlink ports that we wrote from, newest last

	meddler meddler
}

type gateName struct {
	proto       byte
	table, name string // of a table itself: no name
}

// A meddler is a process that changed what is ours.
type meddler struct {
	name string
	pid  int
	at   time.Time
}

// LastMeddler returns which process last changed our table, or a chain of
// others at the forward hook, as Watch heard of it; the zero time if none did.
// The pid is that of the initial namespace. It may be called at any time.
func (f *Firewall) LastMeddler() (name string, pid int, at time.Time) {
	f.heard.mu.Lock()
	defer f.heard.mu.Unlock()
	m := f.heard.meddler
	return m.name, m.pid, m.at
}

// hearOf has Watch tell of changes to these gates, and no others.
func (f *Firewall) hearOf(gates []gate) {
	names := make(map[gateName]bool)
	for _, g := range gates {
		names[gateName{g.family.proto, g.table, g.name}] = true
		names[gateName{g.family.proto, g.table, ""}] = true
	}
	f.heard.mu.Lock()
	defer f.heard.mu.Unlock()
	f.heard.gates = names
}

// writesFrom remembers a netlink port as ours.
func (f *Firewall) writesFrom(port uint32) {
	const most = 16 // Watch is seldom so far behind
	f.heard.mu.Lock()
	defer f.heard.mu.Unlock()
	ports := slices.DeleteFunc(f.heard.ports, func(p uint32) bool { return p == port })
	ports = append(ports, port)
	f.heard.ports = ports[max(0, len(ports)-most):]
}

// hear reports whether notifications end a transaction that concerns us. The
// kernel tells each change, and last who made them; some of them may have come
// before.
func (f *Firewall) hear(b []byte, some *bool) (kick bool) {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return true // cannot tell
	}
	for _, m := range msgs {
		if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
			*some = *some || f.concerns(m)
			continue
		}
		if *some {
			f.note(m)
			kick, *some = true, false
		}
	}
	return kick
}

// note remembers who made a change, unless we did.
func (f *Firewall) note(m syscall.NetlinkMessage) {
	f.heard.mu.Lock()
	defer f.heard.mu.Unlock()
	if len(m.Data) < genHeader || slices.Contains(f.heard.ports, m.Header.Pid) {
		return
	}
	gen := m.Data[genHeader:]
	if name := strings.Map(printable, word(nfattr.Find(gen, unix.NFTA_GEN_PROC_NAME))); name != "" {
		f.heard.meddler = meddler{name: name, pid: int(number(nfattr.Find(gen, unix.NFTA_GEN_PROC_PID))), at: time.Now()}
	}
}

// printable replaces what a process may have in its name to fool who reads it.
func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// concerns reports whether a notification is about our table, or a chain of
// others at the forward hook. Others change theirs all the time.
func (f *Firewall) concerns(m syscall.NetlinkMessage) bool {
	if len(m.Data) < genHeader || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return false
	}
	proto, attrs := m.Data[0], m.Data[genHeader:]
	// Attribute 1 names the table in messages about tables, chains, rules,
	// sets, elements, objects and flow tables alike.
	table := word(nfattr.Find(attrs, unix.NFTA_TABLE_NAME))
	if proto == unix.NFPROTO_INET && table == f.table {
		return true
	}
	f.heard.mu.Lock()
	defer f.heard.mu.Unlock()
	switch m.Header.Type & 0xff {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
		return f.heard.gates[gateName{proto, table, ""}]
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		routed := proto == unix.NFPROTO_IPV4 || proto == unix.NFPROTO_IPV6 || proto == unix.NFPROTO_INET
		return routed && forwards(attrs) || f.heard.gates[gateName{proto, table, word(nfattr.Find(attrs, unix.NFTA_CHAIN_NAME))}]
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		return f.heard.gates[gateName{proto, table, word(nfattr.Find(attrs, unix.NFTA_RULE_CHAIN))}]
	}
	return false
}
