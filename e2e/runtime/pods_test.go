// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/percale-net/percale/internal/netns"
)

// said returns what the server at an address says: where the client comes from.
func said(address string) (string, error) {
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return "", err
	}
	conn, err := net.DialTCP("tcp", nil, to) // by this thread, which may be in another namespace
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// wantSaid fails unless the server comes to see the client at the address want.
// A server may still be starting.
func wantSaid(t *testing.T, address, want string) {
	t.Helper()
	eventually(t, address, func() error {
		got, err := said(address)
		if err == nil && got != want {
			t.Fatalf("%s sees the client at %q; want %s", address, got, want)
		}
		return err
	})
}

func at(address string) string { return net.JoinHostPort(address, "80") }

// Pods of a real runtime reach each other and are reached; a runtime that is
// killed costs them nothing, and then still deletes them.
func TestContainerd(t *testing.T) {
	onNode(t, func(n node) {
		n.write(t, n.subnetFile, dualStack)
		n.list(t, "1.0.0", portmap())
		c := newContainerd(t, n)
		client := outside(t)
		web, _ := c.runPod(t, "web", &cri.PortMapping{ContainerPort: 80, HostPort: 8080})
		other, container := c.runPod(t, "other")
		webs, others := c.addresses(t, web), c.addresses(t, other)
		if all := append(slices.Clone(webs), others...); len(webs) != 2 || !sameSet(all, n.reserved(t)) {
			t.Fatalf("addresses of the pods = %v, reserved are %v; want the same, two each", all, n.reserved(t))
		}
		reach := func() {
			t.Helper()
			for i, gateway := range []string{"10.42.7.1", "fd00:0:0:7::1"} {
				wantSaid(t, at(webs[i]), canonical(gateway))
				if got := c.dial(t, container, at(webs[i])); got != others[i] {
					t.Errorf("%s sees a pod at %q; want %s", webs[i], got, others[i])
				}
			}
			err := client.Do(func() error {
				got, err := said(net.JoinHostPort(nodeAddress, "8080"))
				if err == nil && got != "192.0.2.9" {
					err = fmt.Errorf("the pod sees it at %q", got)
				}
				return err
			})
			if err != nil {
				t.Errorf("a host outside, to the host port: %v", err)
			}
		}
		reach()
		c.stop(t, syscall.SIGKILL)
		wantSaid(t, at(webs[0]), "10.42.7.1")
		c.start(t)
		if again := c.addresses(t, web); !slices.Equal(again, webs) {
			t.Errorf("addresses after a restart of containerd = %v; want %v", again, webs)
		}
		reach()
		c.stopPod(t, web)
		c.stopPod(t, web)
		if got := n.reserved(t); !sameSet(got, others) {
			t.Errorf("reserved after one pod was stopped = %v; want %v", got, others)
		}
		if rules := output(t, "iptables-save", "-t", "nat"); strings.Contains(rules, "8080") {
			t.Errorf("the host port is left:\n%s", rules)
		}
		wantSaid(t, at(others[0]), "10.42.7.1")
		c.removePod(t, web)
		c.removePod(t, other) // without being stopped before
		n.wantNothing(t)
	})
}

func canonical(address string) string { return net.ParseIP(address).String() }

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// Sandboxes that were killed, and whose namespace is gone as after a restart of
// the machine, leave no address when the kubelet comes to delete them.
func TestContainerdLosesSandbox(t *testing.T) {
	onNode(t, func(n node) {
		n.write(t, n.subnetFile, dualStack)
		n.list(t, "1.0.0")
		c := newContainerd(t, n)
		s, _ := c.runPod(t, "lost")
		space := netns.Named(filepath.Base(c.netnsOf(t, s)))
		if len(n.reserved(t)) != 2 {
			t.Fatalf("reserved = %v; want two", n.reserved(t))
		}
		c.stop(t, syscall.SIGKILL)
		c.killPods(t)
		if err := space.Delete(); err != nil {
			t.Fatal(err)
		}
		c.start(t)
		c.stopPod(t, s)
		n.wantNothing(t)
		c.removePod(t, s)
	})
}

// killPods kills all shims, containers and sandboxes.
func (c *containerd) killPods(t *testing.T) {
	t.Helper()
	eventually(t, "all pods die", func() error {
		pids := processesOf(c.run)
		for _, dir := range cgroups(c.cgroup) {
			b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, field := range strings.Fields(string(b)) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					return err
				}
				pids = append(pids, pid)
			}
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may be gone already
		}
		if len(pids) > 0 {
			return fmt.Errorf("processes %v live", pids)
		}
		return nil
	})
}

// Many sandboxes at once, started and removed as the kubelet does it.
func TestContainerdAtOnce(t *testing.T) {
	onNode(t, func(n node) {
		n.write(t, n.subnetFile, dualStack)
		n.list(t, "1.0.0")
		c := newContainerd(t, n)
		const pods = 8
		made := make([]sandbox, pods)
		var wg sync.WaitGroup
		for i := range pods {
			wg.Go(func() {
				s, err := c.runSandbox(t, c.podConfig(fmt.Sprint("pod", i)))
				if err != nil {
					t.Error(err)
				}
				made[i] = s
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		var all []string
		for _, s := range made {
			all = append(all, c.addresses(t, s)...)
		}
		if got := n.reserved(t); len(got) != 2*pods || !sameSet(got, all) {
			t.Errorf("addresses of the pods = %v, reserved are %v; want the same, two each", all, got)
		}
		for _, s := range made {
			wg.Go(func() { c.removePod(t, s) })
		}
		wg.Wait()
		n.wantNothing(t)
	})
}
