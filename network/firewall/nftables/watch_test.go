// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

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

func TestOnlyOursConcernsUs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		family nft.TableFamily
		want   bool
	}{
		{"percale", nft.TableFamilyINet, true},
		{"percale", nft.TableFamilyIPv4, false},
		{"percale2", nft.TableFamilyINet, false},
		{"perc", nft.TableFamilyINet, false},
	} {
		f := newFirewall(t)
		socket, err := open(f.ns, unix.NFNLGRP_NFTABLES)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		c := f.dial(t)
		c.AddTable(&nft.Table{Name: tc.name, Family: tc.family})
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, buf := false, make([]byte, socketBuffer)
		for last := false; !last; { // the new generation is told last
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = got || (&Firewall{table: "percale"}).concerns(buf[:n])
			last = binary.NativeEndian.Uint16(buf[4:]) == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN
		}
		if got != tc.want {
			t.Errorf("a new table %q of family %d concerns us: %v; want %v", tc.name, tc.family, got, tc.want)
		}
	}
}
