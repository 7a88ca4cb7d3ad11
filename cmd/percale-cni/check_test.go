// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/pod"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	port, _ := pod.HostEnd("abc", "eth0")
	for _, tt := range []struct {
		name string
		in   string // commands of ip in the pod
		out  string // and on the node
		text string // of the complaint; "": there is none
	}{
		{name: "untouched"},
		{name: "address removed", in: "addr del 10.42.7.2/24 dev eth0", text: "eth0 lacks address 10.42.7.2/24"},
		{name: "IPv6 address removed", in: "addr del fd00:0:0:7::2/64 dev eth0", text: "eth0 lacks address fd00:0:0:7::2/64"},
		{name: "address added", in: "addr add 192.0.2.9/32 dev eth0"},
		{name: "route removed", in: "route del 10.42.0.0/16", text: "the route to 10.42.0.0/16 via 10.42.7.1 is missing"},
		{name: "default route removed", in: "-6 route del default", text: "the route to ::/0 via fd00:0:0:7::1 is missing"},
		{name: "route changed", in: "route replace default via 10.42.7.9", text: "the route to 0.0.0.0/0 via 10.42.7.1 is missing"},
		{name: "route added", in: "route add 192.0.2.0/24 via 10.42.7.9"},
		{name: "route by another hand", in: "route replace default via 10.42.7.1 proto static"},
		{name: "other MTU", in: "link set eth0 mtu 1400", text: "MTU of eth0 is 1400, not 1450"},
		{name: "other MAC", in: "link set eth0 address 02:00:00:00:00:01", text: "MAC of eth0 is 02:00:00:00:00:01, not 0a:58:0a:2a:07:02"},
		{name: "link removed", in: "link del eth0", text: "link eth0 is missing"},
		{name: "off the bridge", out: "link set " + port + " nomaster", text: "bridge of " + port + " is , not cni0"},
		{name: "port down", out: "link set " + port + " down", text: "state up of " + port + " is false, not true"},
		{name: "hairpin off", out: "link set " + port + " type bridge_slave hairpin off", text: "hairpin mode of " + port + " is false, not true"},
		{name: "bridge down", out: "link set cni0 down", text: "state up of cni0 is false, not true"},
		{name: "bridge removed", out: "link del cni0", text: "link cni0 is missing"},
		{name: "gateway removed", out: "addr del 10.42.7.1/24 dev cni0", text: "bridge cni0 lacks the gateway address 10.42.7.1/24"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envDual), netns.Temp(t)
			c := n.conf(conf{"isDefaultGateway": true, "hairpinMode": true})
			r := n.mustAdd(t, "abc", p, c)
			if tt.in != "" {
				ip(t, p, tt.in)
			}
			if tt.out != "" {
				ip(t, n.NS, tt.out)
			}
			err := n.check(t, "abc", p, c, r)
			if tt.text != "" {
				wantError(t, "CHECK", err, codeDrifted, tt.text)
			} else if err != nil {
				t.Errorf("CHECK = %v; want success", err)
			}
		})
	}
}

func TestCheckOfFilesAndSettings(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envDual), netns.Temp(t)
	c := n.conf(nil)
	r := n.mustAdd(t, "abc", p, c)
	if err := n.check(t, "abc", p, c, r); err != nil {
		t.Errorf("CHECK = %v; want success", err)
	}
	err := n.NS.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0) })
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "CHECK without forwarding", n.check(t, "abc", p, c, r), codeDrifted, `net/ipv4/ip_forward is "0", not 1`)
	if err := os.Remove(filepath.Join(n.dir, "networks", "pods", "10.42.7.2")); err != nil {
		t.Fatal(err)
	}
	wantError(t, "CHECK without the address file", n.check(t, "abc", p, c, r), codeDrifted, "address 10.42.7.2 is not reserved")
	if err := p.Delete(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "CHECK without the namespace", n.check(t, "abc", p, c, r), 8, "CNI_NETNS")
	wantError(t, "CHECK without prevResult", n.check(t, "abc", p, c, nil), 7, "prevResult")
}

// Before 1.1.0 a result has no MTU: the subnet file has, if it is there.
func TestCheckOfOlderVersion(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := n.conf(nil)
	c["cniVersion"] = "1.0.0"
	r := n.mustAdd(t, "abc", p, c)
	if err := n.check(t, "abc", p, c, r); err != nil {
		t.Errorf("CHECK = %v; want success", err)
	}
	ip(t, p, "link set eth0 mtu 1400")
	wantError(t, "CHECK with another MTU", n.check(t, "abc", p, c, r), codeDrifted, "MTU of eth0 is 1400, not 1450")
	if err := os.Remove(n.envPath()); err != nil {
		t.Fatal(err)
	}
	if err := n.check(t, "abc", p, c, r); err != nil {
		t.Errorf("CHECK without the subnet file = %v; want success", err)
	}
}
