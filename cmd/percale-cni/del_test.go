// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/pod"
)

func TestDelIsForgiving(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, n node, p netns.NS)
		netns  func(n node, p netns.NS) string
	}{
		{name: "all there"},
		{name: "no netns given", netns: func(node, netns.NS) string { return "" }},
		{name: "netns gone", before: func(t *testing.T, _ node, p netns.NS) {
			if err := p.Delete(); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "netns is a plain file", netns: func(n node, _ netns.NS) string { return n.envPath() }},
		{name: "no subnet file", before: func(t *testing.T, n node, _ netns.NS) {
			if err := os.Remove(n.envPath()); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "broken subnet file", before: func(t *testing.T, n node, _ netns.NS) { n.writeEnv(t, "FLANNEL_MTU") }},
		{name: "interface gone", before: func(t *testing.T, _ node, p netns.NS) { ip(t, p, "link del eth0") }},
		{name: "bridge gone", before: func(t *testing.T, n node, _ netns.NS) { ip(t, n.NS, "link del cni0") }},
		{name: "addresses gone", before: func(t *testing.T, n node, _ netns.NS) {
			if err := os.RemoveAll(filepath.Join(n.dir, "networks")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envDual), netns.Temp(t)
			c := n.conf(nil)
			if err := n.del(t, "abc", p.Path(), c); err != nil {
				t.Errorf("DEL before ADD = %v; want success", err)
			}
			n.mustAdd(t, "abc", p, c)
			if tt.before != nil {
				tt.before(t, n, p)
			}
			path := p.Path()
			if tt.netns != nil {
				path = tt.netns(n, p)
			}
			for range 2 {
				if err := n.del(t, "abc", path, c); err != nil {
					t.Errorf("DEL = %v; want success", err)
				}
			}
			n.wantNothing(t)
		})
	}
}

// What DEL could not finish stays, so that it can be called again.
func TestDelKeepsWhatItCannotFinish(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := n.conf(nil)
	n.mustAdd(t, "abc", p, c)
	port, _ := pod.HostEnd("abc", "eth0")
	ip(t, n.NS, "link set "+port+" down name veth0") // so that its other end must be looked for
	err := n.del(t, "abc", n.Path(), c)
	wantError(t, "DEL with the node's own namespace", err, 8, "the namespace of the node itself")
	if got := n.reserved(t); !slices.Equal(got, []string{"10.42.7.2"}) {
		t.Errorf("reserved after a failed DEL = %v; want 10.42.7.2", got)
	}
	if err := n.del(t, "abc", p.Path(), c); err != nil {
		t.Error(err)
	}
	n.wantNothing(t, p)
}

// A pod that another plugin wired, with addresses of host-local.
func TestDelOfAPodOfTheBridgePlugin(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := n.conf(nil)
	dir := filepath.Join(n.dir, "networks", "pods")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"10.42.7.2": "other\r\neth0", "10.42.7.3": "abc\r\neth0", "last_reserved_ip.0": "10.42.7.3", "lock": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ip(t, n.NS, "link add vethdeadbeef type veth peer name eth0 netns "+p.Name())
	if err := n.del(t, "abc", p.Path(), c); err != nil {
		t.Error(err)
	}
	if got := links(t, n.NS); len(got) > 0 || len(links(t, p)) > 0 {
		t.Errorf("links = %v and %v; want none", got, links(t, p))
	}
	if got := n.reserved(t); !slices.Equal(got, []string{"10.42.7.2"}) {
		t.Errorf("reserved = %v; want the other one's, 10.42.7.2", got)
	}
	r := n.mustAdd(t, "new", p, c)
	if got := r.IPs[0].Address.IP.String(); got != "10.42.7.4" {
		t.Errorf("next address = %s; want 10.42.7.4", got)
	}
	if err := n.del(t, "new", p.Path(), c); err != nil {
		t.Error(err)
	}
	if got := links(t, n.NS); !slices.Equal(got, []string{"cni0"}) {
		t.Errorf("links = %v; want cni0", got)
	}
}

// A link that is no veth is not of our making.
func TestDelSparesOtherLinks(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	ip(t, p, "link add eth0 type bridge")
	if err := n.del(t, "abc", p.Path(), n.conf(nil)); err != nil {
		t.Error(err)
	}
	if got := links(t, p); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("links of the pod = %v; want eth0 as it was", got)
	}
}

func TestMasquerade(t *testing.T) {
	t.Parallel()
	notByAgent := strings.Replace(envDual, "true", "false", 1)
	n, p := newNode(t, notByAgent), netns.Temp(t)
	c := n.conf(nil)
	r := n.mustAdd(t, "abc", p, c)
	if err := n.check(t, "abc", p, c, r); err != nil {
		t.Errorf("CHECK = %v; want success", err)
	}
	off := n.conf(conf{"ipMasq": false})
	n.mustAdd(t, "def", netns.Temp(t), off)
	if err := n.del(t, "abc", p.Path(), c); err != nil {
		t.Error(err)
	}
	// Re-made without masquerading, the pod fails a check that asks for it.
	r = n.mustAdd(t, "abc", p, off)
	err := n.check(t, "abc", p, c, r)
	wantError(t, "CHECK of a pod that is not masqueraded", err, codeDrifted, "10.42.7.4 is not masqueraded", "fd00:0:0:7::4 is not masqueraded")
	if err := n.check(t, "abc", p, off, r); err != nil {
		t.Errorf("CHECK with ipMasq false = %v; want success", err)
	}
	// The file says that the agent does it, the configuration that we do.
	n.writeEnv(t, envDual)
	q := netns.Temp(t)
	on := n.conf(conf{"ipMasq": true})
	r = n.mustAdd(t, "ghi", q, on)
	if err := n.check(t, "ghi", q, on, r); err != nil {
		t.Errorf("CHECK with ipMasq true = %v; want success", err)
	}
}

// A pod with two interfaces: DEL of one leaves the other, and its address.
func TestTwoInterfacesOfOnePod(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := n.conf(nil)
	n.mustAdd(t, "abc", p, c)
	second := call{command: "ADD", container: "abc", netns: p.Path(), ifname: "net1", conf: c}
	if _, err := n.do(t, second); err != nil {
		t.Fatal(err)
	}
	if got := links(t, p); !slices.Equal(got, []string{"eth0", "net1"}) {
		t.Errorf("links of the pod = %v; want eth0 and net1", got)
	}
	second.command = "DEL"
	for range 2 { // a second DEL takes nothing more
		if _, err := n.do(t, second); err != nil {
			t.Error(err)
		}
		if got, left := links(t, p), n.reserved(t); !slices.Equal(got, []string{"eth0"}) || !slices.Equal(left, []string{"10.42.7.2"}) {
			t.Errorf("after DEL of net1: links %v, reserved %v; want eth0 and 10.42.7.2", got, left)
		}
	}
	if err := n.del(t, "abc", p.Path(), c); err != nil {
		t.Error(err)
	}
	n.wantNothing(t, p)
}
