// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
)

// mount makes a small file system of the node's address directory.
func (n node) mount(t *testing.T, options string) {
	t.Helper()
	dir := filepath.Join(n.dir, "networks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// On a disk that is full or cannot be written, ADD leaves nothing and says what
// helps, and DEL works as far as it can.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, inodes := range []int{2, 3, 4, 5} { // the directories and ever more files fit, but not the addresses
		t.Run(fmt.Sprint(inodes), func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envDual), netns.Temp(t)
			n.mount(t, fmt.Sprintf("size=64k,nr_inodes=%d", inodes))
			_, err := n.add(t, "abc", p, n.conf(nil))
			wantError(t, "ADD", err, 5, "no space left on device", "df -i")
			n.wantNothing(t, p)
			if err := n.del(t, "abc", p.Path(), n.conf(nil)); err != nil {
				t.Errorf("DEL = %v; want success", err)
			}
		})
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	n, p, q := newNode(t, envDual), netns.Temp(t), netns.Temp(t)
	n.mount(t, "size=64k")
	c := n.conf(nil)
	n.mustAdd(t, "abc", p, c)
	dir := filepath.Join(n.dir, "networks")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	_, err := n.add(t, "def", q, c)
	wantError(t, "ADD", err, 5, "read-only file system", "mount it for writing")
	wantError(t, "DEL", n.del(t, "abc", p.Path(), c), 5, "read-only file system")
	remount(0)
	if err := n.del(t, "abc", p.Path(), c); err != nil {
		t.Errorf("DEL when it can be written again = %v; want success", err)
	}
	n.wantNothing(t, p, q)
}

// A restart of the machine takes the interfaces, and the addresses are given
// again, though the runtime never deleted their pods.
func TestAfterReboot(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, strings.Replace(envV4, "7.1/24", "7.1/30", 1)), netns.Temp(t)
	c := n.conf(nil)
	n.mustAdd(t, "before", netns.Temp(t), c)
	_, err := n.add(t, "after", p, c)
	wantError(t, "ADD when all is used", err, codeFull)
	n.writeFile(t, "networks/pods/percale.boot", "another")
	old := filepath.Join(n.dir, "networks/pods/10.42.7.2")
	if err := exec.Command("touch", "-d", "2001-01-01", old).Run(); err != nil {
		t.Fatal(err)
	}
	ip(t, n.NS, "link del cni0")
	n.mustAdd(t, "after", p, c)
	for _, container := range []string{"before", "after"} {
		if err := n.del(t, container, "", c); err != nil {
			t.Error(err)
		}
	}
	n.wantNothing(t, p)
}

func TestWantedAddress(t *testing.T) {
	t.Parallel()
	n, p, q := newNode(t, envDual), netns.Temp(t), netns.Temp(t)
	c := n.conf(nil)
	c["ipam"].(conf)["reserved"] = []string{"10.42.7.2-10.42.7.9"}
	if r := n.mustAdd(t, "abc", p, c); addresses(r)[0].String() != "10.42.7.10" {
		t.Errorf("addresses = %v; want none of the reserved ones", addresses(r))
	}
	c["runtimeConfig"] = conf{"ips": []string{"10.42.7.5/24", "fd00:0:0:7::5"}}
	if r := n.mustAdd(t, "def", q, c); fmt.Sprint(addresses(r)) != "[10.42.7.5 fd00:0:0:7::5]" {
		t.Errorf("addresses = %v; want those asked for, though one is reserved", addresses(r))
	}
	_, err := n.add(t, "ghi", netns.Temp(t), c)
	wantError(t, "ADD with addresses in use", err, codeTaken, "runtimeConfig.ips asks for it: address 10.42.7.5 is in use: delete the pod that has it")
	for _, bad := range []string{"10.42.8.5", "10.42.7.1", "10.42.7.0", "10.42.7.255", "fd00:0:0:8::5"} {
		c["runtimeConfig"] = conf{"ips": []string{bad}}
		_, err := n.add(t, "ghi", netns.Temp(t), c)
		wantError(t, bad, err, 7, "runtimeConfig.ips asks for "+bad+", which no pod on this node can have: want one of 10.42.7.0/24 or fd00:0:0:7::/64")
	}
	if got := n.reserved(t); len(got) != 4 {
		t.Errorf("reserved = %v; want four", got)
	}
}

// A bridge has 1,023 ports: the next pod is refused in words.
func TestBridgeWithoutPorts(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, strings.Replace(envV4, "10.42.7.1/24", "10.42.0.1/20", 1)), netns.Temp(t)
	c := n.conf(nil)
	n.mustAdd(t, "first", netns.Temp(t), c)
	k, err := kernel.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for i := 1; i < bridgePorts; i++ {
		if err := kernel.AddVeth(k, network.Link{Name: fmt.Sprintf("p%d", i), Master: "cni0"}, k, network.Link{Name: fmt.Sprintf("q%d", i)}); err != nil {
			t.Fatalf("port %d: %v", i+1, err)
		}
	}
	before := n.reserved(t)
	_, err = n.add(t, "last", p, c)
	wantError(t, "ADD", err, codePorts, "bridge cni0 has all the 1023 ports", "ip link show master cni0")
	_, err = n.do(t, call{"STATUS", "", "", "", c})
	wantError(t, "STATUS", err, 50, "bridge cni0 has all the 1023 ports")
	port, _ := pod.HostEnd("last", "eth0")
	if slices.Contains(links(t, n.NS), port) || len(links(t, p)) > 0 || !slices.Equal(n.reserved(t), before) {
		t.Errorf("left: links of the pod %v, reserved %v; want none, %v", links(t, p), n.reserved(t), before)
	}
}
