// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network/firewall"
)

// A table that is switched off drops nothing.
func TestDormantTable(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	c := f.dial(t)
	others(c, nft.TableFamilyIPv4)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	f.mustSync(t, firewall.Rules(config()))
	f.tableFlags(t, "site", flagDormant)
	if changed, want := f.mustSync(t, firewall.Rules(config())), "table ip site, chain forward: 2 rules for pods not wanted"; !slices.Equal(changed, []string{want}) {
		t.Errorf("Sync changed %q; want %q", changed, want)
	}
}

// A table may be its maker's alone, for as long as that runs.
func TestOwnedTable(t *testing.T) {
	t.Parallel()
	f := newFirewall(t)
	owner := f.tableFlags(t, "site", flagOwner)
	drop := append(text(unix.NFTA_CHAIN_TABLE, "site"), text(unix.NFTA_CHAIN_NAME, "forward")...)
	drop = append(drop, 20, 0, unix.NFTA_CHAIN_HOOK, 0x80, 8, 0, unix.NFTA_HOOK_HOOKNUM, 0, 0, 0, 0, unix.NF_INET_FORWARD)
	drop = append(drop, 8, 0, unix.NFTA_HOOK_PRIORITY, 0, 0, 0, 0, 0)
	drop = append(append(drop, text(unix.NFTA_CHAIN_TYPE, "filter")...), 8, 0, unix.NFTA_CHAIN_POLICY, 0, 0, 0, 0, 0)
	owner(unix.NFT_MSG_NEWCHAIN, drop)
	if changed := f.mustSync(t, firewall.Rules(config())); !slices.Equal(changed, []string{"table: missing"}) {
		t.Errorf("Sync changed %q; want our own table alone", changed)
	}
	drops := f.ForeignDrops()
	if len(drops) != 1 || drops[0].Chain != "table ip site, chain forward" || !strings.Contains(drops[0].Why, "only the program that made it") {
		t.Errorf("ForeignDrops = %v; want the chain, and that it is another's", drops)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Sync(ctx, firewall.Ruleset{}); err == nil || len(f.ForeignDrops()) != 1 {
		t.Errorf("cancelled Sync: %v, and ForeignDrops = %v; want an error, and what was known", err, f.ForeignDrops())
	}
}

// tableFlags makes an IPv4 table with flags, or gives them to it, and returns
// what sends more over the same connection: the library cannot.
func (f *Firewall) tableFlags(t *testing.T, table string, flags uint32) (send func(kind int, attrs []byte)) {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(f.ns.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	message := func(kind, flags int, family byte, attrs []byte) netlink.Message {
		header := netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.HeaderFlags(flags)}
		return netlink.Message{Header: header, Data: append([]byte{family, 0, 0, unix.NFNL_SUBSYS_NFTABLES}, attrs...)}
	}
	send = func(kind int, attrs []byte) {
		t.Helper()
		_, err = c.SendMessages([]netlink.Message{
			message(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, nil),
			message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_ACK|unix.NLM_F_CREATE, unix.NFPROTO_IPV4, attrs),
			message(unix.NFNL_MSG_BATCH_END, 0, 0, nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	attr := binary.NativeEndian.AppendUint16(nil, 8)
	attr = binary.NativeEndian.AppendUint16(attr, unix.NFTA_TABLE_FLAGS)
	send(unix.NFT_MSG_NEWTABLE, append(text(unix.NFTA_TABLE_NAME, table), binary.BigEndian.AppendUint32(attr, flags)...))
	return send
}
