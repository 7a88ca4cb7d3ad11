// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"encoding/binary"
	"errors"
	"os/exec"
	"slices"
	"testing"
	"time"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall"
)

func TestWatchKicks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f *Firewall, c *nft.Conn) error{
		"rules of ours": func(f *Firewall, c *nft.Conn) error {
			_, err := f.Sync(t.Context(), firewall.Ruleset{})
			return err
		},
		"all flushed":  func(f *Firewall, c *nft.Conn) error { c.FlushRuleset(); return c.Flush() },
		"rule flushed": func(f *Firewall, c *nft.Conn) error { c.FlushChain(forwardChain()); return c.Flush() },
	} {
		f := newFirewall(t)
		f.mustSync(t, firewall.Rules(config()))
		ctx, cancel := context.WithCancel(t.Context())
		kicks, done := make(chan struct{}, 100), make(chan error, 1)
		go func() { done <- f.Watch(ctx, func() { kicks <- struct{}{} }) }()
		<-kicks // it watches now
		c := f.dial(t)
		if err := change(f, c); err != nil {
			t.Fatal(err)
		}
		select {
		case <-kicks:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: no kick; want one", name)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Watch ended with %v; want %v", name, err, context.Canceled)
		}
	}
}

// told returns what the kernel tells of one transaction.
func told(t *testing.T, f *Firewall, do func(c *nft.Conn)) [][]byte {
	t.Helper()
	socket, err := open(f.ns, unix.NFNLGRP_NFTABLES)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := f.dial(t)
	do(c)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	buf := make([]byte, socketBuffer)
	for last := false; !last; { // the new generation is told last
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, slices.Clone(buf[:n]))
		last = binary.NativeEndian.Uint16(buf[4:]) == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN
	}
	return out
}

func TestWhatConcernsUs(t *testing.T) {
	t.Parallel()
	table := func(name string, family nft.TableFamily) func(*nft.Conn) {
		return func(c *nft.Conn) { c.AddTable(&nft.Table{Name: name, Family: family}) }
	}
	chain := func(family nft.TableFamily, hook *nft.ChainHook) func(*nft.Conn) {
		return func(c *nft.Conn) {
			ch := forwardChain()
			ch.Table = c.AddTable(&nft.Table{Name: "x", Family: family})
			ch.Hooknum = hook
			c.AddChain(ch)
		}
	}
	site := &nft.Table{Name: "site", Family: nft.TableFamilyIPv4}
	in := func(chain string) func(c *nft.Conn) {
		return func(c *nft.Conn) { c.AddRule(&nft.Rule{Table: site, Chain: &nft.Chain{Name: chain, Table: site}}) }
	}
	for name, tc := range map[string]struct {
		do   func(*nft.Conn)
		want bool
	}{
		"our table":                       {func(c *nft.Conn) { c.DelTable(testTable()) }, true},
		"one of another family":           {table("percale", nft.TableFamilyIPv4), false},
		"one of another name":             {table("percale2", nft.TableFamilyINet), false},
		"a shorter name":                  {table("perc", nft.TableFamilyINet), false},
		"new chain that forwards":         {chain(nft.TableFamilyINet, nft.ChainHookForward), true},
		"new chain that does not":         {chain(nft.TableFamilyINet, nft.ChainHookInput), false},
		"new chain of bridges":            {chain(nft.TableFamilyBridge, nft.ChainHookForward), false},
		"rule of a known chain":           {in("forward"), true},
		"rule of another in its table":    {in("services"), false},
		"policy of a known chain":         {func(c *nft.Conn) { others(c, nft.TableFamilyIPv4) }, true},
		"chain of others goes":            {func(c *nft.Conn) { c.DelChain(&nft.Chain{Name: "forward", Table: site}) }, true},
		"another chain goes":              {func(c *nft.Conn) { c.DelChain(&nft.Chain{Name: "services", Table: site}) }, false},
		"table with a known chain goes":   {func(c *nft.Conn) { c.DelTable(site) }, true},
		"table without a known chain":     {func(c *nft.Conn) { c.DelTable(&nft.Table{Name: "idle", Family: nft.TableFamilyIPv4}) }, false},
		"table of that name and no chain": {table("site", nft.TableFamilyIPv6), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFirewall(t)
			c := f.dial(t)
			ch := forwardChain()
			ch.Table = c.AddTable(site)
			c.AddChain(ch)
			c.AddChain(&nft.Chain{Name: "services", Table: site})
			c.AddTable(&nft.Table{Name: "idle", Family: nft.TableFamilyIPv4})
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			f.mustSync(t, firewall.Rules(config()))
			some, got := false, false
			for _, b := range told(t, f, tc.do) {
				got = f.hear(b, &some) || got
			}
			if got != tc.want || some {
				t.Errorf("it concerns us: %v, and something is open still: %v; want %v, false", got, some, tc.want)
			}
		})
	}
}

// A change that others make is theirs, one of ours nobody's.
func TestLastMeddler(t *testing.T) {
	t.Parallel()
	ns := netns.Temp(t)
	f, err := Open(ns.Path(), "percale")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.mustSync(t, firewall.Rules(config()))
	hear := func(do func(*nft.Conn)) {
		some := false
		for _, b := range told(t, f, do) {
			f.hear(b, &some)
		}
	}
	hear(func(c *nft.Conn) { c.FlushChain(forwardChain()) }) // over a connection of ours
	if name, pid, at := f.LastMeddler(); !at.IsZero() {
		t.Errorf("after our own change, LastMeddler = %q, %d, %v; want none", name, pid, at)
	}
	if _, err := exec.LookPath("iptables-nft"); err != nil {
		t.Fatalf("%v: apt-get install iptables", err)
	}
	hear(func(*nft.Conn) {
		if _, err := ns.Output("iptables-nft", "-P", "FORWARD", "DROP"); err != nil {
			t.Fatal(err)
		}
	})
	if name, pid, at := f.LastMeddler(); name != "iptables-nft" || pid <= 0 || at.IsZero() {
		t.Errorf("after iptables-nft, LastMeddler = %q, %d, %v; want it, and when", name, pid, at)
	}
}

func TestMeddlersNameIsPlain(t *testing.T) {
	t.Parallel()
	f, some := &Firewall{table: "percale"}, true
	attrs := append(text(unix.NFTA_GEN_PROC_NAME, "a\nb\x1b[1m\xff"), 8, 0, unix.NFTA_GEN_PROC_PID, 0, 0, 0, 0x12, 0x67)
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+genHeader+len(attrs)))
	m = binary.NativeEndian.AppendUint16(m, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN)
	m = append(append(m, make([]byte, 10+genHeader)...), attrs...)
	if kick := f.hear(m, &some); !kick {
		t.Error("the end of what concerns us did not kick")
	}
	if name, pid, _ := f.LastMeddler(); name != "a?b?[1m?" || pid != 4711 {
		t.Errorf("LastMeddler = %q, %d; want %q, 4711", name, pid, "a?b?[1m?")
	}
}
