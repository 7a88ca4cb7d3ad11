// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall/podmasq"
	"github.com/percale-net/percale/network/pod"
)

// gc calls GC with the given containers' eth0 as valid.
func (n node) gc(t *testing.T, c conf, valid ...string) error {
	t.Helper()
	list := []any{}
	for _, v := range valid {
		list = append(list, conf{"containerID": v, "ifname": "eth0"})
	}
	with := maps.Clone(c)
	with["cni.dev/valid-attachments"] = list
	_, err := n.do(t, call{"GC", "", "", "", with})
	return err
}

// masqueraded returns how many addresses are.
func (n node) masqueraded(t *testing.T) (count int) {
	t.Helper()
	err := n.Do(func() error {
		pods, err := podmasq.Pods()
		count = len(pods)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func TestGC(t *testing.T) {
	t.Parallel()
	n := newNode(t, strings.ReplaceAll(envDual, "IPMASQ=true", "IPMASQ=false"))
	c, other := n.conf(nil), n.conf(nil)
	other["name"] = "another"
	for _, container := range []string{"keep", "lose", "nofile"} {
		n.mustAdd(t, container, netns.Temp(t), c)
	}
	n.mustAdd(t, "foreign", netns.Temp(t), other) // on the same bridge
	n.writeFile(t, "networks/pods/10.42.7.200", "")
	n.writeFile(t, "networks/pods/10.42.7.201", "nobody\r\neth0")
	n.writeFile(t, "networks/pods/10.42.7.202", "keep") // an old host-local's
	n.writeFile(t, "flannel/keep", `{"name":"pods","type":"bridge"}`)
	n.writeFile(t, "flannel/gone", `{"name":"pods","type":"bridge"}`)
	n.writeFile(t, "flannel/gone2", `{"name":"another","type":"bridge"}`)
	ip(t, n.NS, "link add veth0123abcd type veth peer name x") // as the bridge plugin names its ports
	ip(t, n.NS, "link set veth0123abcd master cni0")
	for _, e := range n.reserved(t) {
		if b, err := os.ReadFile(filepath.Join(n.dir, "networks/pods", e)); err == nil && strings.HasPrefix(string(b), "nofile") {
			if err := os.Remove(filepath.Join(n.dir, "networks/pods", e)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := n.masqueraded(t); got != 6 {
		t.Errorf("%d addresses are masqueraded before GC; want 6", got)
	}
	for range 2 {
		if err := n.gc(t, c, "keep"); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for _, container := range []string{"keep", "foreign"} {
		port, _ := pod.HostEnd(container, "eth0")
		want = append(want, port)
	}
	want = append(want, "cni0", "veth0123abcd", "x")
	slices.Sort(want)
	if got := links(t, n.NS); !slices.Equal(got, want) {
		t.Errorf("links = %v; want %v", got, want)
	}
	if got, want := n.reserved(t), []string{"10.42.7.2", "10.42.7.202", "fd00:0:0:7::2"}; !slices.Equal(got, want) {
		t.Errorf("reserved = %v; want %v", got, want)
	}
	// "foreign" has the same addresses as "keep": its network has a store of its
	// own, and here the same subnet.
	if got := n.masqueraded(t); got != 2 {
		t.Errorf("%d addresses are masqueraded; want 2", got)
	}
	for file, want := range map[string]bool{"keep": true, "gone": false, "gone2": true} {
		if _, err := os.Stat(filepath.Join(n.dir, "flannel", file)); err == nil != want {
			t.Errorf("flannel's state of %s: %v; want it there: %v", file, err, want)
		}
	}
	if err := n.gc(t, c); err != nil {
		t.Fatal(err)
	}
	if got := n.reserved(t); len(got) > 0 {
		t.Errorf("reserved after GC of all = %v; want none", got)
	}
}

// Where the list of what is valid is missing or wrong, nothing is deleted.
func TestGCNeedsItsList(t *testing.T) {
	t.Parallel()
	n := newNode(t, envV4)
	c := n.conf(nil)
	n.mustAdd(t, "abc", netns.Temp(t), c)
	for _, tt := range []struct {
		name string
		list any
		code uint
	}{
		{"none", nil, 7},
		{"no list", "abc", 6},
		{"no container", []any{conf{"ifname": "eth0"}}, 7},
		{"no interface", []any{conf{"containerID": "abc"}}, 7},
		{"a number", []any{conf{"containerID": 7, "ifname": "eth0"}}, 6},
	} {
		with := maps.Clone(c)
		if tt.list != nil {
			with["cni.dev/valid-attachments"] = tt.list
		}
		_, err := n.do(t, call{"GC", "", "", "", with})
		wantError(t, tt.name, err, tt.code, "cni.dev/valid-attachments")
	}
	if got := n.reserved(t); len(got) != 1 {
		t.Errorf("reserved = %v; want the one address", got)
	}
	with := maps.Clone(c)
	with["cni.dev/attachments"] = []any{conf{"containerID": "abc", "ifname": "eth0"}}
	if _, err := n.do(t, call{"GC", "", "", "", with}); err != nil || len(n.reserved(t)) != 1 {
		t.Errorf("GC by the older name of the key = %v, reserved %v; want one address", err, n.reserved(t))
	}
	with["cniVersion"] = "1.0.0"
	_, err := n.do(t, call{"GC", "", "", "", with})
	wantError(t, "GC before 1.1.0", err, 1)
}

func (n node) writeFile(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, env string
		before    func(t *testing.T, n node, c conf)
		code      uint // 0: available
		texts     []string
	}{
		{name: "available", env: envDual},
		{name: "with pods", env: envV4, before: func(t *testing.T, n node, c conf) { n.mustAdd(t, "abc", netns.Temp(t), c) }},
		{name: "agent never ready", env: "", before: func(t *testing.T, n node, _ conf) {
			n.writeFile(t, "run/waiting", "no /coreos.com/network/config in etcd")
		}, code: 50, texts: []string{"it waits: no /coreos.com/network/config in etcd"}},
		{name: "agent never ready, and pods there", env: "", before: func(t *testing.T, n node, _ conf) {
			n.writeFile(t, "networks/pods/10.42.7.2", "abc\r\neth0")
		}, code: 51, texts: []string{"percaled has not written"}},
		{name: "full", env: strings.Replace(envV4, "7.1/24", "7.1/30", 1), before: func(t *testing.T, n node, c conf) {
			n.mustAdd(t, "abc", netns.Temp(t), c)
		}, code: 50, texts: []string{"subnet 10.42.7.0/30 is full: 1 of 1 used: delete pods"}},
		{name: "full of lost ones", env: strings.Replace(envV4, "7.1/24", "7.1/29", 1), before: func(t *testing.T, n node, c conf) {
			n.mustAdd(t, "abc", netns.Temp(t), c)
			for i := 3; i < 7; i++ {
				lost := fmt.Sprintf("lost%d", i)
				n.mustAdd(t, lost, netns.Temp(t), c)
				port, _ := pod.HostEnd(lost, "eth0")
				if out, err := n.Output("ip", "link", "del", port); err != nil {
					t.Fatal(err, out)
				}
			}
			n.age(t, "10.42.7.3", "10.42.7.4", "10.42.7.5")
		}, code: 50, texts: []string{"subnet 10.42.7.0/29 is full: 5 of 5 used, 3 of them by sandboxes that no longer exist (percale ipam gc)"}},
		{name: "full of another plugin's", env: strings.Replace(envV4, "7.1/24", "7.1/29", 1), before: func(t *testing.T, n node, c conf) {
			for i := 2; i < 7; i++ {
				n.writeFile(t, fmt.Sprintf("networks/pods/10.42.7.%d", i), fmt.Sprintf("other%d\r\neth0", i))
			}
			n.age(t, "10.42.7.3", "10.42.7.4", "10.42.7.5")
		}, code: 50, texts: []string{"subnet 10.42.7.0/29 is full: 5 of 5 used: delete pods"}},
		{name: "bridge of another subnet", env: strings.ReplaceAll(envV4, "10.42.7.1", "10.42.9.1"), before: func(t *testing.T, n node, c conf) {
			n.mustAdd(t, "abc", netns.Temp(t), c)
			n.writeEnv(t, envV4)
		}, code: 50, texts: []string{"already has an IP address different from 10.42.7.1/24"}},
		{name: "ranges elsewhere", env: envV4, before: func(_ *testing.T, _ node, c conf) {
			c["ipam"].(conf)["ranges"] = []any{[]any{conf{"subnet": "192.0.2.0/24"}}}
		}, code: 50, texts: []string{"none of 192.0.2.0-192.0.2.255 is in the subnet 10.42.7.0/24 of this node: change ipam.ranges"}},
		{name: "bad configuration", env: envV4, before: func(_ *testing.T, _ node, c conf) {
			c["delegate"] = conf{"vlan": 7}
		}, code: 2, texts: []string{"delegate.vlan"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, tt.env)
			if tt.env == "" {
				if err := os.Remove(n.envPath()); err != nil {
					t.Fatal(err)
				}
			}
			c := n.conf(conf{})
			if tt.before != nil {
				tt.before(t, n, c)
			}
			_, err := n.do(t, call{"STATUS", "", "", "", c})
			if tt.code != 0 {
				wantError(t, "STATUS", err, tt.code, tt.texts...)
			} else if err != nil {
				t.Errorf("STATUS = %v; want success", err)
			}
		})
	}
}

// age makes addresses look as if they had been given long ago.
func (n node) age(t *testing.T, addrs ...string) {
	t.Helper()
	for _, a := range addrs {
		path := filepath.Join(n.dir, "networks/pods", a)
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		then := fi.ModTime().Add(-2 * 60e9)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
}
