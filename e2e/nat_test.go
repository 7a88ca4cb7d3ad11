// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
)

// TestPublishedAddressOfANAT puts a node behind a NAT: its peers send to the
// published address, which is none of its own, and its device sends from the
// one that it has.
func TestPublishedAddressOfANAT(t *testing.T) {
	t.Parallel()
	const published = "203.0.113.12"
	l := up(t, lab.Spec{Nodes: 2, Pods: 1})
	n := l.Node(2)
	if err := n.Agent(0).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	args := n.Agent(0).Args()
	cmd := exec.Command(args[0], append(args[1:], "--public-ip="+published)...)
	log, err := os.Create(n.Agent(0).LogPath() + ".nat")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(n.NS().Start(cmd), log.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() error { return knowsUplink(t, l.Node(1), netip.MustParseAddr(published)) })
	eventually(t, func() error { _, err := n.Agent(0).Status(t.Context()); return err })
	if out := output(t, n.NS(), "ip -d link show dev flannel.1"); !strings.Contains(out, " local 192.168.77.12 dev eth0 ") {
		t.Errorf("device: %s\nwant the node's own address 192.168.77.12 as local", out)
	}
	// Between namespaces a NAT would meet checksums that are not computed yet,
	// so there is none here, and packets arrive one way only.
	from, to := l.Pods()[1], l.Pods()[0]
	at := netip.AddrPortFrom(to.Addrs[0], countPort)
	in := openUDP(t, to.NS(), func() (*net.UDPConn, error) { return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	defer in.Close()
	out := openUDP(t, from.NS(), func() (*net.UDPConn, error) { return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at)) })
	defer out.Close()
	eventually(t, func() error {
		if err := in.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		_, sent := out.Write([]byte("from behind a NAT"))
		_, got := in.Read(make([]byte, 100))
		return errors.Join(sent, got)
	})
}
