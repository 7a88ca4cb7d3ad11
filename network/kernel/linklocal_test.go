// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
)

// A pair is a node that sends through its tunnel, and a host that receives at
// the tunnel's port.
type pair struct {
	node
	wire *net.UDPConn
	out  *net.UDPConn // into the tunnel
}

// newPair gives the node two addresses, of which the tunnel uses the first.
func newPair(t *testing.T, self [2]string, peer string) (*pair, network.State) {
	t.Helper()
	n, far := newNode(t), netns.Temp(t)
	p := &pair{node: n}
	n.ip(t, "link set far0 netns "+far.Name())
	for _, args := range []string{"link set far0 up", "addr add 192.0.2.2/24 dev far0", "addr add 2001:db8::2/64 dev far0 nodad"} {
		if _, err := far.Output("ip", strings.Fields(args)...); err != nil {
			t.Fatal(err)
		}
	}
	n.ip(t, "addr add 192.0.2.9/24 dev up0")
	n.ip(t, "addr add 2001:db8::9/64 dev up0 nodad")
	want := network.NewState()
	l := tunnel("flannel.1", 1, self[0])
	want.Links[l.Name] = l
	a := network.Address{Link: l.Name, Prefix: netip.MustParsePrefix("10.0.0.0/32")}
	want.Addresses[a] = a
	peers(want, 1, true, false)
	f := network.Forward{Link: l.Name, MAC: mac(1), Dst: netip.MustParseAddr(peer)}
	want.Forwards[f.Key()] = f
	n.reach(t, scope, want)
	err := far.Do(func() (err error) {
		p.wire, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(peer), Port: 8472})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.wire.Close() })
	err = n.ns.Do(func() (err error) {
		p.out, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(10, 0, 1, 5), Port: 9})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.out.Close() })
	n.quiet(t)
	return p, want
}

// quiet waits until the kernel has tried all addresses (RFC 4862, section 5.4),
// as what it finds changes routes.
func (n node) quiet(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); n.ip(t, "-6 addr show tentative") != ""; {
		if time.Now().After(end) {
			t.Fatal("there are still tentative addresses after 10 s")
		}
		<-time.After(50 * time.Millisecond)
	}
}

// source returns the outer source of a packet that is sent now. Others that the
// kernel sends by itself are received, and told apart by what they hold.
func (p *pair) source(t *testing.T, token string) netip.Addr {
	t.Helper()
	if _, err := p.out.Write([]byte(token)); err != nil {
		t.Fatal(err)
	}
	if err := p.wire.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := p.wire.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("packet %q did not come out: %v", token, err)
		}
		if n >= len(token) && string(buf[n-len(token):n]) == token {
			return from.Addr().Unmap()
		}
	}
}

// sources is source of as many packets as it takes for the kernel to remember
// their route: it does not in the tick (10 ms, at most) in which an entry is set.
func (p *pair) sources(t *testing.T, token string) map[netip.Addr]bool {
	t.Helper()
	all := make(map[netip.Addr]bool)
	for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); {
		all[p.source(t, token)] = true
	}
	return all
}

// onOneCPU keeps the test on one processor: the kernel remembers a tunnel's
// routes for each.
func onOneCPU(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
}

// ways are the addresses of a pair, of each family.
var ways = []struct {
	name string
	self [2]string
	peer string
}{
	{"IPv4", [2]string{"192.0.2.1", "192.0.2.9"}, "192.0.2.2"},
	{"IPv6", [2]string{"2001:db8::1", "2001:db8::9"}, "2001:db8::2"},
}

// TestPacketsFollowLocal changes the address that a tunnel sends from, while
// both are the node's. Nothing else changes that would have the kernel look up
// its routes anew.
func TestPacketsFollowLocal(t *testing.T) {
	t.Parallel()
	for _, test := range ways {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			onOneCPU(t)
			p, want := newPair(t, test.self, test.peer)
			for i := range 4 {
				l := want.Links["flannel.1"]
				l.VXLAN.Local = netip.MustParseAddr(test.self[i%2])
				want.Links[l.Name] = l
				p.reach(t, scope, want)
				if got := p.sources(t, fmt.Sprintf("<token %d>", i)); len(got) != 1 || !got[l.VXLAN.Local] {
					t.Errorf("change %d: packets come from %v; want %v", i, got, l.VXLAN.Local)
				}
			}
		})
	}
}

// TestPacketsFollowLocalAfterAll finds the tunnel as an agent leaves it that was
// killed while it changed the address.
func TestPacketsFollowLocalAfterAll(t *testing.T) {
	t.Parallel()
	for _, test := range ways {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			onOneCPU(t)
			p, want := newPair(t, test.self, test.peer)
			p.run(t, "bridge", "fdb replace "+mac(1).String()+" dev flannel.1 dst "+test.peer+" via up0 self permanent")
			if got := p.sources(t, "<before>"); len(got) != 1 || !got[want.Links["flannel.1"].VXLAN.Local] {
				t.Fatalf("packets come from %v; want %s", got, test.self[0])
			}
			p.ip(t, "link set flannel.1 type vxlan id 1 local "+test.self[1])
			l := want.Links["flannel.1"]
			l.VXLAN.Local = netip.MustParseAddr(test.self[1])
			want.Links[l.Name] = l
			p.reach(t, scope, want)
			if got := p.sources(t, "<after>"); len(got) != 1 || !got[l.VXLAN.Local] {
				t.Errorf("packets come from %v; want %v", got, l.VXLAN.Local)
			}
		})
	}
}
