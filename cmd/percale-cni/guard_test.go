// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	nft "github.com/google/nftables"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
)

// guarded returns the ports that are guarded on the node, and which of the
// given senders' guards lack something.
func (n node) guarded(t *testing.T) (ports []string) {
	t.Helper()
	err := n.Do(func() error {
		return guard.Prune(func(all []string) ([]string, error) {
			ports = slices.Clone(all)
			return nil, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// udpFrom sends a datagram from an address of a namespace.
func udpFrom(t *testing.T, ns netns.NS, from, to netip.AddrPort, text string) {
	t.Helper()
	err := ns.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, env string
		guard     any
		spoofed   bool // arrives
	}{
		{"by default", envV4, nil, false},
		{"by default, IPv6", envV6, nil, false},
		{"on", envV4, true, false},
		{"off", envV4, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, tt.env), netns.Temp(t)
			c := n.conf(nil)
			if tt.guard != nil {
				c["guard"] = tt.guard
			}
			r := n.mustAdd(t, "abc", p, c)
			gateway, own := addrOf(r.IPs[0].Gateway), addrOf(r.IPs[0].Address.IP)
			other := own.Next().Next()
			nodad := ""
			if own.Is6() {
				nodad = " nodad"
			}
			ip(t, p, fmt.Sprintf("addr add %s/%d dev eth0%s", other, own.BitLen(), nodad))
			var server *net.UDPConn
			err := n.Do(func() (err error) {
				server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(gateway, 0)))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			to := server.LocalAddr().(*net.UDPAddr).AddrPort()
			// The honest one last: the first cannot come later.
			udpFrom(t, p, netip.AddrPortFrom(other, 0), to, "spoofed")
			udpFrom(t, p, netip.AddrPortFrom(own, 0), to, "honest")
			if err := server.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			var got []string
			for buf := make([]byte, 100); !slices.Contains(got, "honest"); {
				k, err := server.Read(buf)
				if err != nil {
					t.Fatalf("arrived: %q, then %v; want honest", got, err)
				}
				got = append(got, string(buf[:k]))
			}
			if slices.Contains(got, "spoofed") != tt.spoofed {
				t.Errorf("arrived: %q; want spoofed among them: %v", got, tt.spoofed)
			}
			port, _ := pod.HostEnd("abc", "eth0")
			if on := !tt.spoofed; slices.Contains(n.guarded(t), port) != on {
				t.Errorf("guarded ports = %q; want %s among them: %v", n.guarded(t), port, on)
			}
			if err := n.check(t, "abc", p, c, r); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			if err := n.del(t, "abc", p.Path(), c); err != nil {
				t.Fatal(err)
			}
			n.wantNothing(t, p)
			if err := n.gc(t, c); err != nil {
				t.Fatal(err)
			}
			if got := n.guarded(t); len(got) > 0 {
				t.Errorf("guarded ports after DEL and GC = %q; want none", got)
			}
		})
	}
}

func TestGuardGC(t *testing.T) {
	t.Parallel()
	n := newNode(t, envV4)
	c := n.conf(nil)
	for _, container := range []string{"keep", "lose", "gone"} {
		n.mustAdd(t, container, netns.Temp(t), c)
	}
	gone, _ := pod.HostEnd("gone", "eth0")
	ip(t, n.NS, "link del "+gone)
	if err := n.gc(t, c, "keep"); err != nil {
		t.Fatal(err)
	}
	if keep, _ := pod.HostEnd("keep", "eth0"); !slices.Equal(n.guarded(t), []string{keep}) {
		t.Errorf("guarded ports = %q; want %s", n.guarded(t), keep)
	}
}

func TestGuardCheck(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := n.conf(nil)
	r := n.mustAdd(t, "abc", p, c)
	port, _ := pod.HostEnd("abc", "eth0")
	host, err := kernel.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	was, err := host.Alias(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	alias := func(text string) {
		t.Helper()
		if err := host.SetAlias(t.Context(), port, text); err != nil {
			t.Fatal(err)
		}
	}
	alias(strings.Replace(was, "10.42.7.2", "10.42.7.9", 1))
	wantError(t, "another address", n.check(t, "abc", p, c, r), codeDrifted, "does not let it send from 10.42.7.2")
	alias(was + " 10.42.7.9")
	wantError(t, "one address more", n.check(t, "abc", p, c, r), codeDrifted, "lets it send from 10.42.7.9, which is not its own")
	alias("of somebody else")
	if err := n.check(t, "abc", p, c, r); err != nil {
		t.Errorf("CHECK of a pod from before guards: %v", err)
	}
	c["guard"] = true
	wantError(t, "no guard", n.check(t, "abc", p, c, r), codeDrifted, "the pod is not guarded")
	alias(was)
	mine, ok, err := pod.ParseSender(port, was)
	if !ok || err != nil {
		t.Fatalf("alias %q: %v, %v", was, ok, err)
	}
	if err := n.Do(func() error { return guard.DelPod(mine) }); err != nil {
		t.Fatal(err)
	}
	wantError(t, "no element", n.check(t, "abc", p, c, r), codeDrifted, "set pods4: lacks an element of the pod")
	if err := n.Do(func() error { return guard.AddPod(mine) }); err != nil {
		t.Fatal(err)
	}
	if err := n.check(t, "abc", p, c, r); err != nil {
		t.Errorf("CHECK of a guard that is whole again: %v", err)
	}
	err = n.Do(func() error {
		var c nft.Conn
		c.DelTable(&nft.Table{Name: guard.PodTable, Family: nft.TableFamilyBridge})
		return c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "table deleted", n.check(t, "abc", p, c, r), codeDrifted, "table: missing")
}

// TestGuardLongNames has owners whose names leave no room in the alias.
func TestGuardLongNames(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envDual), netns.Temp(t)
	container := strings.Repeat("c", 220)
	n.mustAdd(t, container, p, n.conf(nil))
	port, _ := pod.HostEnd(container, "eth0")
	host, err := kernel.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	text, err := host.Alias(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok, err := pod.ParseSender(port, text); !ok || err != nil || len(s.Addrs) != 2 {
		t.Errorf("alias %q says %v, %v, %v; want what the pod may send from", text, s, ok, err)
	}
}
