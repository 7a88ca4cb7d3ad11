// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
)

// The lab of this test, and where it keeps what belongs to the agent of n1.
const (
	labName  = "runtime"
	labAgent = "/run/percale-lab/" + labName + "/n1/net0"
)

func lab(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, filepath.Join(os.Getenv("PERCALE_BIN"), "percale-lab"), append([]string{"--name", labName}, args...)...)
}

// A pod that containerd runs on a node with percaled and a pod on another node
// reach each other through the tunnel, under their own addresses.
func TestContainerdInCluster(t *testing.T) {
	if !isNode(t) {
		t.Parallel()
		newNode(t) // or skip, before the lab is made
		t.Cleanup(func() { lab(t, "down") })
		lab(t, "up", "--nodes", "2", "--pods", "1", "--families", "dual")
		runOn(t, netns.Named(labName+"-n1"))
		return
	}
	n := newNode(t)
	n.subnetFile, n.runDir = filepath.Join(labAgent, "subnet.env"), filepath.Join(labAgent, "percale")
	n.dataDir, n.network = filepath.Join(labAgent, "networks"), "cni0" // as of the pod that is there
	n.list(t, "1.0.0 1.1.0")
	c := newContainerd(t, n)
	before := n.reserved(t)
	c.waitReady(t, true, "")
	s, container := c.runPod(t, "web")
	remote := netns.Named(labName + "-n2-p1")
	for _, address := range c.addresses(t, s) {
		its := addressOf(t, remote, strings.Contains(address, ":"))
		eventually(t, "from the other node to "+address, func() error {
			return remote.Do(func() error {
				got, err := said(at(address))
				if err == nil && got != its {
					t.Errorf("%s sees the pod of the other node at %q; want %s", address, got, its)
				}
				return err
			})
		})
		if got := c.dial(t, container, serveOnce(t, remote, its)); got != address {
			t.Errorf("the pod of the other node sees %q; want %s", got, address)
		}
	}
	c.stopPod(t, s)
	if got := n.reserved(t); !sameSet(got, before) {
		t.Errorf("reserved at the end = %v; want %v", got, before)
	}
	c.removePod(t, s)
}

// addressOf returns the global address of a family that a pod has.
func addressOf(t *testing.T, pod netns.NS, six bool) string {
	t.Helper()
	family := "-4"
	if six {
		family = "-6"
	}
	line, err := pod.Output("ip", family, "-o", "addr", "show", "dev", "eth0", "scope", "global")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(line)
	if len(f) < 4 {
		t.Fatalf("addresses of %s = %q; want one", pod.Name(), line)
	}
	address, _, _ := strings.Cut(f[3], "/")
	return address
}

// serveOnce answers one client in a pod with the address that it comes from,
// and returns where.
func serveOnce(t *testing.T, pod netns.NS, address string) string {
	t.Helper()
	var l net.Listener
	err := pod.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if conn, err := l.Accept(); err == nil {
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprint(conn, host)
			conn.Close()
		}
	}()
	return l.Addr().String()
}
