// SPDX-License-Identifier: Apache-2.0

package verdicttest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network/firewall"
)

// A side is what lies behind one link of the node: a namespace of its own.
type side struct {
	ns    netns.NS
	link  string
	addrs []netip.Addr // of hosts behind the link, IPv4 and IPv6
	via   []netip.Addr // the node's own addresses on the link: what masquerading leads to
}

// A world is a node between its pods, the pods of other nodes, and the outside.
type world struct {
	node              netns.NS
	here, there, away *side
	sides             []*side
}

// hosts lists, per side, the node's address on the link, then the hosts behind
// it. "there" holds pods of two other nodes, and a network that is outside.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{node: netns.Temp(t)}
	w.here = w.add(t, "here", []string{"10.244.1.1/24", "fd00:10:244:1::1/64"},
		"10.244.1.5/24", "10.244.1.6/24", "fd00:10:244:1::5/64", "fd00:10:244:1::6/64")
	w.there = w.add(t, "there", []string{"172.16.0.1/24", "2001:db8:9::1/64"},
		"172.16.0.2/24", "10.244.2.5/32", "10.244.3.5/32", "198.51.100.1/32",
		"2001:db8:9::2/64", "fd00:10:244:2::5/128", "fd00:10:244:3::5/128", "2001:db8:1::1/128")
	w.away = w.add(t, "away", []string{"192.0.2.1/24", "2001:db8::1/64"}, "192.0.2.7/24", "2001:db8::7/64")
	batch(t, w.node,
		"route add 10.244.2.0/23 via 172.16.0.2", "route add 198.51.100.0/24 via 172.16.0.2",
		"route add fd00:10:244:2::/63 via 2001:db8:9::2", "route add 2001:db8:1::/64 via 2001:db8:9::2")
	for _, path := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		err := w.node.Do(func() error { return os.WriteFile(filepath.Join("/proc/sys", path), []byte("1"), 0) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.node.Do(track); err != nil {
		t.Fatal(err)
	}
	return w
}

// track makes the kernel track connections of both families, as it does on a
// node where others ask for their state: it does so by itself only where it
// translates addresses.
func track() error {
	var c nft.Conn
	table := c.AddTable(&nft.Table{Name: "others", Family: nft.TableFamilyINet})
	chain := c.AddChain(&nft.Chain{Name: "track", Table: table, Type: nft.ChainTypeFilter,
		Hooknum: nft.ChainHookPrerouting, Priority: nft.ChainPriorityFilter})
	c.AddRule(&nft.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: unix.NFT_REG_1}}})
	return c.Flush()
}

func (w *world) add(t *testing.T, link string, node []string, hosts ...string) *side {
	t.Helper()
	s := &side{ns: netns.Temp(t), link: link}
	batch(t, w.node, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", link, s.ns.Name()))
	up := func(link string, addrs []string) []string {
		lines := []string{"link set " + link + " up"}
		for _, a := range addrs {
			nodad := ""
			if strings.Contains(a, ":") {
				nodad = " nodad"
			}
			lines = append(lines, "addr add "+a+" dev "+link+nodad)
		}
		return lines
	}
	batch(t, w.node, up(link, node)...)
	batch(t, s.ns, up("eth0", hosts)...)
	for _, a := range node {
		p := netip.MustParsePrefix(a)
		s.via = append(s.via, p.Addr())
		batch(t, s.ns, "route add default via "+p.Addr().String())
	}
	for _, a := range hosts {
		s.addrs = append(s.addrs, netip.MustParsePrefix(a).Addr())
	}
	w.sides = append(w.sides, s)
	return s
}

// batch runs ip commands in one process.
func batch(t *testing.T, ns netns.NS, lines ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ns.Output("ip", "-batch", file); err != nil {
		t.Fatal(err)
	}
}

// at returns where an address lives; nil for the node itself.
func (w *world) at(a netip.Addr) *side {
	for _, s := range w.sides {
		for _, b := range s.addrs {
			if a == b {
				return s
			}
		}
	}
	return nil
}

func (w *world) nsOf(a netip.Addr) netns.NS {
	if s := w.at(a); s != nil {
		return s.ns
	}
	return w.node
}

// masked returns the source that a masqueraded packet to dst shows.
func (w *world) masked(dst netip.Addr) netip.Addr {
	s := w.at(dst)
	if s == nil {
		s = w.away // where groups are listened to
	}
	for _, a := range s.via {
		if a.Is4() == dst.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// listen opens a socket for packets to dst and a port, 0 for any; to a group it
// does so away.
func (w *world) listen(t *testing.T, dst netip.Addr, port uint16) *net.UDPConn {
	t.Helper()
	ns := w.nsOf(dst)
	if dst.IsMulticast() {
		ns = w.away.ns
	}
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, port))
		if !dst.IsMulticast() {
			c, err = net.ListenUDP("udp", addr)
			return err
		}
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		c, err = net.ListenMulticastUDP("udp", eth0, addr)
		return err
	})
	if err != nil {
		t.Fatalf("listen at %v: %v", dst, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dial opens a socket that sends as src, with a mark; to groups by way of
// "away".
func (w *world) dial(t *testing.T, src netip.Addr, mark uint32) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := w.nsOf(src).Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(src, 0)))
		if err != nil {
			return err
		}
		out, err := net.InterfaceByName("away")
		if err != nil {
			out = new(net.Interface) // not on the node
		}
		return control(c, func(fd int) error {
			err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark))
			if src.Is4() {
				return errors.Join(err, unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(out.Index)}))
			}
			return errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, out.Index))
		})
	})
	if err != nil {
		t.Fatalf("send from %v: %v", src, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func control(c syscall.Conn, fn func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	return errors.Join(raw.Control(func(fd uintptr) { inner = fn(int(fd)) }), inner)
}

// send sends a packet, and returns the source that its receiver sees; false if
// it did not come within the wait.
func (w *world) send(t *testing.T, p firewall.Packet, wait time.Duration) (netip.Addr, bool) {
	t.Helper()
	to := w.listen(t, p.Dst, p.UDPPort)
	from := w.dial(t, p.Src, p.Mark)
	defer to.Close()
	defer from.Close()
	port := to.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	if _, err := from.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(p.Dst, port)); err != nil {
		t.Fatalf("send %v: %v", p, err)
	}
	if err := to.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, src, err := to.ReadFromUDPAddrPort(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return netip.Addr{}, false
	}
	if err != nil {
		t.Fatalf("receive %v: %v", p, err)
	}
	return src.Addr().Unmap(), true
}
