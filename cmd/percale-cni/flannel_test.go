// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/netns"
)

// A pod that flannel's plugin made goes with all that its delegate kept.
func TestDelOfFlannelsPod(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, n node, p netns.NS)
		left   bool // the address elsewhere
	}{
		{name: "all there"},
		{name: "namespace gone", before: func(t *testing.T, _ node, p netns.NS) {
			if err := p.Delete(); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "state gone", before: func(t *testing.T, n node, _ netns.NS) {
			if err := os.Remove(filepath.Join(n.dir, "flannel/abc")); err != nil {
				t.Fatal(err)
			}
		}, left: true},
		{name: "state broken", before: func(t *testing.T, n node, _ netns.NS) { n.writeFile(t, "flannel/abc", `{"name":"po`) }, left: true},
		{name: "state of another network", before: func(t *testing.T, n node, _ netns.NS) {
			n.writeFile(t, "flannel/abc", `{"name":"other"}`)
		}, left: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envV4), netns.Temp(t)
			ip(t, n.NS, "link add cni0 type bridge")
			ip(t, n.NS, "link add veth0123abcd type veth peer name eth0 netns "+p.Name())
			ip(t, n.NS, "link set veth0123abcd master cni0")
			n.writeFile(t, "networks/pods/10.42.7.2", "abc\r\neth0")
			n.writeFile(t, "elsewhere/pods/10.42.7.3", "abc\r\neth0")
			n.writeFile(t, "elsewhere/pods/10.42.7.4", "def\r\neth0")
			n.writeFile(t, "flannel/abc", `{"cniVersion":"0.3.1","name":"pods","type":"bridge","ipMasq":false,
				"ipam":{"type":"host-local","dataDir":"`+filepath.Join(n.dir, "elsewhere")+`","ranges":[[{"subnet":"10.42.7.0/24"}]]}}`)
			if tt.before != nil {
				tt.before(t, n, p)
			}
			c := n.conf(nil)
			c["type"] = "flannel"
			for range 2 {
				if err := n.del(t, "abc", p.Path(), c); err != nil {
					t.Fatal(err)
				}
			}
			got, deadline := links(t, n.NS), time.After(20*time.Second)
			for tick := time.Tick(10 * time.Millisecond); len(got) > 1; got = links(t, n.NS) {
				select { // the kernel takes its time to end a namespace
				case <-tick:
					continue
				case <-deadline:
				}
				t.Fatalf("links = %v; want cni0 alone", got)
			}
			if got := n.reserved(t); len(got) > 0 {
				t.Errorf("reserved = %v; want none", got)
			}
			for file, want := range map[string]bool{"elsewhere/pods/10.42.7.3": tt.left, "elsewhere/pods/10.42.7.4": true} {
				if _, err := os.Stat(filepath.Join(n.dir, file)); err == nil != want {
					t.Errorf("%s: %v; want it there: %v", file, err, want)
				}
			}
			if _, err := os.Stat(filepath.Join(n.dir, "flannel/abc")); err == nil && !tt.left {
				t.Error("flannel's state is left")
			}
		})
	}
}

// As flannel, the plugin keeps what flannel's would, for the way back.
func TestStateAsFlannel(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envDual), netns.Temp(t)
	c := n.conf(conf{"hairpinMode": true})
	c["type"] = "flannel"
	n.mustAdd(t, "abc", p, c)
	b, err := os.ReadFile(filepath.Join(n.dir, "flannel/abc"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name, Type, Bridge string
		IPAM               struct {
			Type, DataDir string
			Ranges        [][]struct{ Subnet string }
		}
	}
	err = json.Unmarshal(b, &got)
	if err != nil || got.Name != "pods" || got.Type != "bridge" || got.Bridge != "cni0" || got.IPAM.Type != "host-local" ||
		got.IPAM.DataDir != filepath.Join(n.dir, "networks") || len(got.IPAM.Ranges) != 2 || got.IPAM.Ranges[0][0].Subnet != "10.42.7.0/24" {
		t.Errorf("state = %s, %v; want what the bridge plugin needs to delete the pod", b, err)
	}
	if err := n.del(t, "abc", p.Path(), c); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(n.dir, "flannel/abc")); err == nil {
		t.Error("flannel's state is left after DEL")
	}
	n.wantNothing(t, p)
}
