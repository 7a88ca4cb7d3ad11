// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall"
)

func TestToolWithoutRandomPorts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h host) {
		tool, err := find(firewall.IPv4, h.variant)
		if err != nil {
			t.Fatal(err)
		}
		tool.random, tool.version = false, "iptables 1.6.1"
		h.tools[firewall.IPv4] = tool
		changed := h.sync(t, firewall.Rules(config()))
		if want := "IPv4 random-fully: iptables 1.6.1 cannot; ports are picked as it does by default"; !slices.Contains(changed, want) {
			t.Errorf("Sync changed %q; want %q among it", changed, want)
		}
		if got := h.run(t, "save"); strings.Contains(got, "random") || !strings.Contains(got, "MASQUERADE") {
			t.Errorf("rules are\n%s\nwant them to masquerade without random ports", got)
		}
		if changed := h.sync(t, firewall.Rules(config())); changed != nil {
			t.Errorf("second Sync changed %q; want nothing", changed)
		}
	})
}

func TestWatchKicks(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, h host) {
		ctx, cancel := context.WithCancel(t.Context())
		kicks, done := make(chan struct{}, 1000), make(chan error, 1)
		go func() {
			done <- h.ns.Do(func() error { return h.Watch(ctx, func() { kicks <- struct{}{} }) })
		}()
		<-kicks // it watches now
		h.run(t, "-A FORWARD -j ACCEPT")
		select {
		case <-kicks:
		case <-time.After(10 * time.Second):
			t.Error("no kick; want one")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v; want %v", err, context.Canceled)
		}
	})
}

func TestKernelTellsOfTheTablesThatConcernUs(t *testing.T) {
	t.Parallel()
	if _, err := find(firewall.IPv4, "nft"); err != nil {
		t.Skip(err)
	}
	h := host{OpenVariant("percale", "nft"), netns.Temp(t)}
	var socket *os.File
	err := h.ns.Do(func() (err error) {
		socket, err = watchTables()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]bool{"-t mangle -A FORWARD -j ACCEPT": false, "6 -t nat -A POSTROUTING -j RETURN": true} {
		h.run(t, line)
		got, buf := false, make([]byte, 64<<10)
		for last := false; !last; { // the new generation is told last
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = got || concerns(buf[:n])
			last = binary.NativeEndian.Uint16(buf[4:]) == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN
		}
		if got != want {
			t.Errorf("%s: concerns us %v; want %v", line, got, want)
		}
	}
}

func TestWithoutIPTables(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f := Open("percale")
	if err := Supported(); !errors.Is(err, ErrNoTool) || !strings.Contains(err.Error(), "apt-get install iptables") {
		t.Errorf("Supported = %v; want %v", err, ErrNoTool)
	}
	if _, err := f.Sync(t.Context(), firewall.Rules(config())); !errors.Is(err, ErrNoTool) {
		t.Errorf("Sync = %v; want %v", err, ErrNoTool)
	}
	if changed, err := f.Sync(t.Context(), firewall.Ruleset{}); err != nil || changed != nil {
		t.Errorf("Sync with no rules = %v, %v; want success", changed, err)
	}
	if err := f.Clear(t.Context()); err != nil {
		t.Errorf("Clear = %v; want success", err)
	}
	if _, err := exec.LookPath("iptables"); err == nil {
		t.Error("iptables is in PATH; want it to be absent in this test")
	}
}
