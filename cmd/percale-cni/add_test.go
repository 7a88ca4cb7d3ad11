// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/pod"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// exchange sends a packet from one pod to an address of another, and back.
func exchange(from, to netns.NS, src, dst netip.Addr) error {
	var server, client *net.UDPConn
	err := to.Do(func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, 0)))
		return err
	})
	if err != nil {
		return err
	}
	defer server.Close()
	err = from.Do(func() (err error) {
		client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err != nil {
		return err
	}
	defer client.Close()
	deadline := time.Now().Add(20 * time.Second)
	if err := server.SetReadDeadline(deadline); err != nil {
		return err
	}
	if err := client.SetReadDeadline(deadline); err != nil {
		return err
	}
	if _, err := client.Write([]byte("hello")); err != nil {
		return err
	}
	_, seen, err := server.ReadFromUDPAddrPort(make([]byte, 16))
	if err != nil {
		return fmt.Errorf("%s waits for %s: %w", dst, src, err)
	}
	if seen.Addr().Unmap() != src {
		return fmt.Errorf("%s sees %s; want %s", dst, seen.Addr(), src)
	}
	if _, err := server.WriteToUDPAddrPort([]byte("hello"), seen); err != nil {
		return err
	}
	if _, err := client.Read(make([]byte, 16)); err != nil {
		return fmt.Errorf("%s waits for an answer of %s: %w", src, dst, err)
	}
	return nil
}

func TestTwoPods(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, env string
		families  int
		mtu       int
	}{
		{"IPv4", envV4, 1, 1450}, {"dual stack", envDual, 2, 1450}, {"IPv6", envV6, 1, 1430},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, tt.env)
			c := n.conf(conf{"isDefaultGateway": true, "hairpinMode": true})
			a, b := netns.Temp(t), netns.Temp(t)
			ra, rb := n.mustAdd(t, "aaa", a, c), n.mustAdd(t, "bbb", b, c)
			srcs, dsts := addresses(ra), addresses(rb)
			if len(srcs) != tt.families || len(dsts) != tt.families {
				t.Fatalf("addresses = %v and %v; want %d each", srcs, dsts, tt.families)
			}
			for i := range srcs {
				// The first packet gets through: nothing waits for a link to settle.
				if err := exchange(a, b, srcs[i], dsts[i]); err != nil {
					t.Error(err)
				}
				gateway := addrOf(ra.IPs[i].Gateway)
				if err := exchange(a, n.NS, srcs[i], gateway); err != nil {
					t.Errorf("to the gateway: %v", err)
				}
			}
			s := state(t, a, "eth0")
			if l := s.Links["eth0"]; l.MTU != tt.mtu || !l.Up || len(s.Addresses) != tt.families || len(s.Routes) != 2*tt.families {
				t.Errorf("pod has %+v, %v, %v; want MTU %d, %d addresses, twice as many routes", l, s.Addresses, s.Routes, tt.mtu, tt.families)
			}
			port, _ := pod.HostEnd("aaa", "eth0")
			if l := state(t, n.NS).Links[port]; l.Master != "cni0" || !l.Hairpin || l.MTU != tt.mtu || !l.Up {
				t.Errorf("port = %+v; want one of cni0, hairpin, up, MTU %d", l, tt.mtu)
			}
			for container, r := range map[string]netns.NS{"aaa": a, "bbb": b} {
				if err := n.del(t, container, r.Path(), c); err != nil {
					t.Error(err)
				}
			}
			n.wantNothing(t, a, b)
		})
	}
}

// The result in each version of the specification.
func TestResult(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envDual), netns.Temp(t)
			c := n.conf(conf{"isDefaultGateway": true, "dns": conf{"nameservers": []string{"10.43.0.10"}}})
			c["cniVersion"] = version
			c["ipam"].(conf)["routes"] = []conf{{"dst": "192.0.2.0/24", "priority": 7}}
			out, err := n.do(t, call{"ADD", "abc", p.Path(), "eth0", c})
			if err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, bytes.ReplaceAll(out, []byte(p.Path()), []byte("/run/netns/pod")), "", "    "); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "result-"+version+".json")
			if *update {
				if err := os.WriteFile(file, indented.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if indented.String() != string(want) {
				t.Errorf("result differs from %s (-update rewrites it):\n%s", file, indented.String())
			}
		})
	}
}

func TestAddAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, envDual)
	c := n.conf(nil)
	const pods = 16
	seen := make([][]netip.Addr, pods)
	spaces := make([]netns.NS, pods)
	for i := range spaces {
		spaces[i] = netns.Temp(t)
	}
	var wg sync.WaitGroup
	for i := range pods {
		wg.Go(func() {
			r, err := n.add(t, fmt.Sprintf("c%d", i), spaces[i], c)
			if err != nil {
				t.Error(err)
				return
			}
			seen[i] = addresses(r)
		})
	}
	wg.Wait()
	distinct := map[netip.Addr]bool{}
	for i := range pods {
		for _, a := range seen[i] {
			distinct[a] = true
		}
	}
	if len(distinct) != 2*pods || len(links(t, n.NS)) != pods+1 {
		t.Errorf("%d pods have %d addresses, the node links %v; want twice as many, and a port each", pods, len(distinct), links(t, n.NS))
	}
	if t.Failed() {
		return
	}
	if err := exchange(spaces[0], spaces[pods-1], seen[0][0], seen[pods-1][0]); err != nil {
		t.Error(err)
	}
	for i := range pods {
		wg.Go(func() {
			if err := n.del(t, fmt.Sprintf("c%d", i), spaces[i].Path(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n.wantNothing(t, spaces...)
}

func TestAddTwice(t *testing.T) {
	t.Parallel()
	n, p, other := newNode(t, envV4), netns.Temp(t), netns.Temp(t)
	c := n.conf(nil)
	r := n.mustAdd(t, "abc", p, c)
	_, err := n.add(t, "abc", p, c)
	wantError(t, "second ADD", err, codeAttached, "container abc has its interface eth0 already", "DEL")
	_, err = n.add(t, "def", p, c)
	wantError(t, "ADD of another container in the namespace", err, codeAttached, "has an interface eth0 already")
	if err := n.check(t, "abc", p, c, r); err != nil {
		t.Errorf("CHECK after refused ADDs = %v; want the first one to stand", err)
	}
	if got := n.reserved(t); !slices.Equal(got, []string{"10.42.7.2"}) {
		t.Errorf("reserved = %v; want 10.42.7.2 alone", got)
	}
	if _, err := n.add(t, "def", other, c); err != nil {
		t.Error(err)
	}
}

// Each failure leaves nothing behind.
func TestAddFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		env    string
		change func(t *testing.T, n node, c conf, p netns.NS)
		code   uint
		texts  []string
	}{
		{name: "route that the kernel refuses", change: func(_ *testing.T, _ node, c conf, _ netns.NS) {
			c["ipam"].(conf)["routes"] = []conf{{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}}
		}, code: 999, texts: []string{"set route 192.0.2.0/24 via 203.0.113.1 dev eth0"}},
		{name: "same with masquerading", env: strings.Replace(envV4, "true", "false", 1), change: func(_ *testing.T, _ node, c conf, _ netns.NS) {
			c["ipam"].(conf)["routes"] = []conf{{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}}
		}, code: 999, texts: []string{"set route"}},
		{name: "bridge that is none", change: func(t *testing.T, n node, c conf, _ netns.NS) {
			ip(t, n.NS, "link add dummy0 type veth peer name dummy1")
			c["delegate"] = conf{"bridge": "dummy0"}
		}, code: 999, texts: []string{"make bridge", "ip link del dummy0"}},
		{name: "full", env: strings.Replace(envV4, "10.42.7.1/24", "10.42.7.1/30", 1), change: func(t *testing.T, n node, c conf, _ netns.NS) {
			n.mustAdd(t, "first", netns.Temp(t), c)
		}, code: codeFull, texts: []string{"subnet 10.42.7.0/30 is full: 1 of 1 used"}},
		{name: "no address of the family", change: func(_ *testing.T, _ node, c conf, _ netns.NS) {
			c["ipam"].(conf)["routes"] = []conf{{"dst": "2001:db8::/32"}}
		}, code: 7, texts: []string{"ipam.routes: route to 2001:db8::/32: the pod has no address of that family"}},
		{name: "subnet too small", env: strings.Replace(envV4, "10.42.7.1/24", "10.42.7.1/31", 1), code: 7, texts: []string{"too small"}},
		{name: "MTU too small for IPv6", env: strings.Replace(envDual, "1450", "1200", 1), code: 7, texts: []string{"MTU 1200: IPv6 needs at least 1280"}},
		{name: "ranges outside of the subnet", change: func(_ *testing.T, _ node, c conf, _ netns.NS) {
			c["ipam"].(conf)["ranges"] = []any{[]any{conf{"subnet": "192.0.2.0/24"}}}
		}, code: 7, texts: []string{"none of 192.0.2.0-192.0.2.255 is in the subnet 10.42.7.0/24 of this node: change ipam.ranges"}},
		{name: "addresses below a file", change: func(t *testing.T, n node, c conf, _ netns.NS) {
			c["ipam"].(conf)["dataDir"] = n.envPath()
		}, code: 5, texts: []string{"make address directory"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.env == "" {
				tt.env = envV4
			}
			n, p := newNode(t, tt.env), netns.Temp(t)
			c := n.conf(conf{})
			if tt.change != nil {
				tt.change(t, n, c, p)
			}
			before, held := links(t, n.NS), n.reserved(t)
			_, err := n.add(t, "abc", p, c)
			wantError(t, "ADD", err, tt.code, tt.texts...)
			after := slices.DeleteFunc(links(t, n.NS), func(l string) bool { return l == "cni0" && !slices.Contains(before, l) })
			if !slices.Equal(after, before) || !slices.Equal(n.reserved(t), held) || len(links(t, p)) > 0 {
				t.Errorf("left: links %v, addresses %v, in the pod %v; want %v, %v, none", after, n.reserved(t), links(t, p), before, held)
			}
		})
	}
}

func TestAddIntoWhatIsNoPod(t *testing.T) {
	t.Parallel()
	n := newNode(t, envV4)
	for _, tt := range []struct{ name, netns, text string }{
		{"absent", "/run/netns/no-such-namespace", "no such file"},
		{"plain file", n.envPath(), "it is no network namespace"},
		{"another kind of namespace", "/proc/self/ns/uts", "it is no network namespace"},
		{"the node's own", n.Path(), "it is the namespace of the node itself"},
	} {
		_, err := n.do(t, call{"ADD", "abc", tt.netns, "eth0", n.conf(nil)})
		wantError(t, tt.name, err, 8, tt.text, "CNI_NETNS")
	}
	n.wantNothing(t)
}

func TestBridgeOfAnOlderSubnet(t *testing.T) {
	t.Parallel()
	older := strings.ReplaceAll(strings.ReplaceAll(envDual, "10.42.7.1", "10.42.9.1"), "fd00:0:0:7:", "fd00:0:0:9:")
	n, first, second := newNode(t, older), netns.Temp(t), netns.Temp(t)
	c := n.conf(nil)
	n.mustAdd(t, "first", first, c)
	n.writeEnv(t, envDual)
	_, err := n.add(t, "second", second, c)
	wantError(t, "ADD with pods on the bridge", err, codeBridge, `"cni0" already has an IP address different from 10.42.7.1/24 and fd00:0:0:7::1/64`,
		"ip addr del 10.42.9.1/24 dev cni0; ip addr del fd00:0:0:9::1/64 dev cni0", "forceAddress")
	if got := n.reserved(t); len(got) != 2 {
		t.Errorf("reserved = %v; want the two of the first pod", got)
	}
	forced := n.conf(conf{"forceAddress": true})
	n.mustAdd(t, "second", second, forced)
	if got := state(t, n.NS, "cni0").Addresses; len(got) != 2 {
		t.Errorf("addresses of cni0 = %v; want those of the new subnet alone", got)
	}
	for _, container := range []string{"first", "second"} {
		if err := n.del(t, container, "", c); err != nil {
			t.Error(err)
		}
	}
	n.writeEnv(t, older) // nobody is on the bridge: it may change without being forced
	n.mustAdd(t, "third", first, c)
	if got := ip(t, n.NS, "-o addr show dev cni0"); !strings.Contains(got, "10.42.9.1/24") || strings.Contains(got, "10.42.7.1/24") {
		t.Errorf("addresses of cni0 = %s; want those of the older subnet again", got)
	}
}

// What an operator gave the bridge stays, and a lowered MTU is followed.
func TestBridgeIsAdopted(t *testing.T) {
	t.Parallel()
	n, a, b := newNode(t, envV4), netns.Temp(t), netns.Temp(t)
	ip(t, n.NS, "link add cni0 address 02:00:00:00:00:07 type bridge")
	ip(t, n.NS, "addr add 10.42.7.1/24 dev cni0")
	ip(t, n.NS, "addr add 192.0.2.1/32 dev cni0")
	r := n.mustAdd(t, "aaa", a, n.conf(nil))
	s := state(t, n.NS, "cni0")
	if l := s.Links["cni0"]; l.MAC.String() != "02:00:00:00:00:07" || l.MTU != 1450 || !l.Up || len(s.Addresses) != 2 {
		t.Errorf("bridge = %+v, %v; want its MAC, MTU 1450, up, both addresses", l, s.Addresses)
	}
	if got := r.Interfaces[0].Mac; got != "02:00:00:00:00:07" {
		t.Errorf("result says the bridge has MAC %s", got)
	}
	n.mustAdd(t, "bbb", b, n.conf(conf{"mtu": 1400}))
	if l := state(t, b).Links["eth0"]; l.MTU != 1400 {
		t.Errorf("pod with delegate.mtu 1400 = %+v", l)
	}
}
