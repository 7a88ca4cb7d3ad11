// SPDX-License-Identifier: Apache-2.0

package podmasq

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// A site is a pod, its node, and a host outside that has an address inside the
// pod network and one elsewhere, of each family.
type site struct{ pod, node, outside netns.NS }

func newSite(t *testing.T) site {
	t.Helper()
	s := site{netns.Temp(t), netns.Temp(t), netns.Temp(t)}
	run := func(ns netns.NS, lines string) {
		t.Helper()
		for line := range strings.Lines(lines) {
			f := strings.Fields(line)
			if len(f) == 0 {
				continue
			}
			if _, err := ns.Output(f[0], f[1:]...); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(s.node, `
		ip link add pod type veth peer name eth0 netns `+s.pod.Name()+`
		ip link add out type veth peer name eth0 netns `+s.outside.Name()+`
		ip addr add 10.42.7.1/24 dev pod
		ip addr add fd00:7::1/64 dev pod nodad
		ip addr add 192.0.2.1/24 dev out
		ip addr add 2001:db8::1/64 dev out nodad
		ip link set pod up
		ip link set out up
		ip route add 10.42.9.9 dev out
		ip route add fd00:9::9 dev out`)
	err := s.node.Do(func() error {
		return errors.Join(
			os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	run(s.pod, `
		ip addr add 10.42.7.2/24 dev eth0
		ip addr add fd00:7::2/64 dev eth0 nodad
		ip link set eth0 up
		ip route add default via 10.42.7.1
		ip route add default via fd00:7::1`)
	run(s.outside, `
		ip addr add 192.0.2.9/24 dev eth0
		ip addr add 10.42.9.9/32 dev eth0
		ip addr add 2001:db8::9/64 dev eth0 nodad
		ip addr add fd00:9::9/128 dev eth0 nodad
		ip link set eth0 up
		ip route add 10.42.7.0/24 via 192.0.2.1
		ip route add fd00:7::/64 via 2001:db8::1`)
	return s
}

// source returns the address from which the pod's packets reach dst.
func (s site) source(t *testing.T, dst string) netip.Addr {
	t.Helper()
	var server, client *net.UDPConn
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(dst), 0))
	err := s.outside.Do(func() (err error) { server, err = net.ListenUDP("udp", to); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	err = s.pod.Do(func() (err error) {
		client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var from netip.AddrPort
	for range 50 { // the first packets may be lost while links come up
		if _, err := client.Write([]byte("hello")); err != nil && !errors.Is(err, unix.EHOSTUNREACH) {
			t.Fatal(err)
		}
		if err := server.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, from, err = server.ReadFromUDPAddrPort(make([]byte, 16)); err == nil {
			return from.Addr().Unmap()
		}
	}
	t.Fatalf("no packet of the pod reached %s", dst)
	return netip.Addr{}
}

func (s site) expect(t *testing.T, when string, want map[string]string) {
	t.Helper()
	for dst, src := range want {
		if got := s.source(t, dst); got.String() != src {
			t.Errorf("%s: packets to %s come from %s; want %s", when, dst, got, src)
		}
	}
}

func TestMasquerade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pods := []netip.Addr{netip.MustParseAddr("10.42.7.2"), netip.MustParseAddr("fd00:7::2")}
	networks := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd00::/16")}
	plain := map[string]string{
		"192.0.2.9": "10.42.7.2", "10.42.9.9": "10.42.7.2", "2001:db8::9": "fd00:7::2", "fd00:9::9": "fd00:7::2",
	}
	s.expect(t, "before", plain)
	inNode := func(what string, fn func() error) {
		t.Helper()
		if err := s.node.Do(fn); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	inNode("Del without a table", func() error { return Del(pods) })
	inNode("Add", func() error { return Add(pods, networks) })
	masqueraded := map[string]string{
		"192.0.2.9": "192.0.2.1", "10.42.9.9": "10.42.7.2", "2001:db8::9": "2001:db8::1", "fd00:9::9": "fd00:7::2",
	}
	s.expect(t, "after Add", masqueraded)
	inNode("Add of another pod", func() error { return Add([]netip.Addr{netip.MustParseAddr("10.42.7.3")}, networks) })
	s.expect(t, "after Add of another pod", masqueraded)
	inNode("Del of another pod", func() error { return Del([]netip.Addr{netip.MustParseAddr("10.42.7.3")}) })
	s.expect(t, "after Del of another pod", masqueraded)
	inNode("Del", func() error { return Del(pods) })
	s.expect(t, "after Del", plain)
	inNode("Del twice", func() error { return Del(pods) })
	inNode("Del of none", func() error { return Del(nil) })
}

func TestAddAtOnce(t *testing.T) {
	t.Parallel()
	ns := netns.Temp(t)
	networks := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		pod := []netip.Addr{netip.AddrFrom4([4]byte{10, 42, 7, byte(i + 2)})}
		wg.Go(func() {
			errs[i] = ns.Do(func() error { return errors.Join(Add(pod, networks), Add(pod, networks)) })
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	rules, pods := dump(t, ns)
	// Per family the multicast range and the masquerading; one network.
	if rules != 5 || len(pods) != len(errs) {
		t.Errorf("table has %d rules, pods %v; want 5 rules, %d pods", rules, pods, len(errs))
	}
	for i := range errs {
		wg.Go(func() {
			errs[i] = ns.Do(func() error { return Del([]netip.Addr{netip.AddrFrom4([4]byte{10, 42, 7, byte(i + 2)})}) })
		})
	}
	wg.Wait()
	if _, pods := dump(t, ns); errors.Join(errs...) != nil || len(pods) != 0 {
		t.Errorf("pods after Del = %v, %v; want none", pods, errors.Join(errs...))
	}
}

// dump returns the number of rules and the IPv4 pods.
func dump(t *testing.T, ns netns.NS) (rules int, pods []netip.Addr) {
	t.Helper()
	err := ns.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		ours := newTable(nil)
		all, err := c.GetRules(ours.table, ours.chain)
		if err != nil {
			return err
		}
		elements, err := c.GetSetElements(ours.sets[0])
		for _, e := range elements {
			a, _ := netip.AddrFromSlice(e.Key)
			pods = append(pods, a)
		}
		rules = len(all)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(pods, netip.Addr.Compare)
	return rules, pods
}

// Rules are made anew where they are not those of the networks, and only there.
func TestRulesFollowNetworks(t *testing.T) {
	t.Parallel()
	ns := netns.Temp(t)
	a, b := netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("10.43.0.0/16")
	pod := func(i byte) []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{10, 42, 7, i})} }
	var handles [][]uint64
	for i, networks := range [][]netip.Prefix{{a}, {a}, {b}, {b, a}, {b, a}, {a}} {
		err := ns.Do(func() error {
			if err := Add(pod(byte(i)), networks); err != nil {
				return err
			}
			c, err := nftables.New()
			if err != nil {
				return err
			}
			want := newTable(networks)
			if !want.complete(c) {
				t.Errorf("step %d: the rules are not those of %v", i, networks)
			}
			rules, err := c.GetRules(want.table, want.chain)
			var h []uint64
			for _, r := range rules {
				h = append(h, r.Handle)
			}
			handles = append(handles, h)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, same := range []bool{true, false, false, true, false} {
		if slices.Equal(handles[i], handles[i+1]) != same {
			t.Errorf("rules of steps %d and %d have handles %v and %v; want the same: %v", i, i+1, handles[i], handles[i+1], same)
		}
	}
	if _, pods := dump(t, ns); len(pods) != 6 {
		t.Errorf("pods = %v; want six", pods)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	if err := explain(unix.EOPNOTSUPP); !errors.Is(err, ErrNoNFTables) || !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("explain(EOPNOTSUPP) = %v; want ErrNoNFTables too", err)
	}
	if err := explain(unix.EPERM, unix.EINVAL); errors.Is(err, ErrNoNFTables) {
		t.Errorf("explain(EPERM) = %v; want it as it is", err)
	}
	if err := explain(nil, unix.EINVAL); err != nil {
		t.Errorf("explain(nil) = %v; want nil", err)
	}
}

// GC ends the masquerading of all that was lost, in several transactions.
func TestDelMany(t *testing.T) {
	t.Parallel()
	var pods []netip.Addr
	a := netip.MustParseAddr("fd00:7::2")
	for range 2500 {
		pods = append(pods, a)
		a = a.Next()
	}
	err := netns.Temp(t).Do(func() error {
		for part := range slices.Chunk(pods, 500) {
			if err := Add(part, []netip.Prefix{netip.MustParsePrefix("fd00::/16")}); err != nil {
				return err
			}
		}
		if have, err := Pods(); err != nil || len(have) != len(pods) {
			t.Errorf("masqueraded after Add: %d, %v; want %d", len(have), err, len(pods))
		}
		if err := Del(pods); err != nil {
			return err
		}
		have, err := Pods()
		if len(have) > 0 {
			t.Errorf("masqueraded after Del: %d; want none", len(have))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
