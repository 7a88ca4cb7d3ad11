// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/pod"
)

var (
	macA     = network.MAC{0x0a, 0x58, 10, 244, 1, 5}
	macB     = network.MAC{0x0a, 0x58, 10, 244, 1, 6}
	macNode  = network.MAC{0x0a, 0x58, 10, 244, 1, 1}
	everyone = network.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	bpdu     = network.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e} // the bridge hands it to the node
)

const (
	addrA, addrA6 = "10.244.1.5", "fd00::5"
	addrB, addrB6 = "10.244.1.6", "fd00::6"
	addrN, addrN6 = "10.244.1.1", "fd00::1"
)

// A site is a node with two pods on its bridge.
type site struct {
	node netns.NS
	a, b *host
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{node: netns.Temp(t), a: newHost(t, macA), b: newHost(t, macB)}
	batch(t, s.node, "link add cni0 address "+macNode.String()+" type bridge", "link set cni0 up",
		"addr add "+addrN+"/24 dev cni0", "addr add "+addrN6+"/64 dev cni0 nodad")
	for _, p := range []struct {
		port, v4, v6 string
		h            *host
	}{{"vetha", addrA, addrA6, s.a}, {"vethb", addrB, addrB6, s.b}} {
		batch(t, s.node, fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %s", p.port, p.h.mac, p.h.ns.Name()),
			"link set "+p.port+" master cni0 up")
		batch(t, p.h.ns, "link set eth0 up", "addr add "+p.v4+"/24 dev eth0", "addr add "+p.v6+"/64 dev eth0 nodad")
		p.h.listen(t, "eth0")
	}
	ready(t, s.node, "vetha", "vethb", "cni0")
	ready(t, s.a.ns, "eth0")
	return s
}

// senders are the pods of a site.
func senders() []pod.Sender {
	return []pod.Sender{sender("vetha", macA, addrA, addrA6), sender("vethb", macB, addrB, addrB6)}
}

// A frame is one that pod a may, or may not, send.
type frame struct {
	name  string
	bytes func(token string) []byte
}

func raw(name string, kind uint16, dst, src network.MAC, packet func(token string) []byte) frame {
	return frame{name, func(token string) []byte { return ether(dst, src, kind, packet(token)) }}
}

func v4(name, src, dst string, proto byte, payload func(string) []byte) frame {
	return raw(name, unix.ETH_P_IP, macB, macA, func(token string) []byte { return ip(src, dst, proto, payload(token)) })
}

func v6(name, src, dst string, proto byte, payload func(string) []byte) frame {
	return raw(name, unix.ETH_P_IPV6, macB, macA, func(token string) []byte { return ip(src, dst, proto, payload(token)) })
}

func asUDP(from, to uint16) func(string) []byte {
	return func(token string) []byte { return udp(from, to, token) }
}

func asICMP(kind byte, body ...[]byte) func(string) []byte {
	return func(token string) []byte { return icmp(kind, append(body, []byte(token))...) }
}

func asARP(op uint16, sha network.MAC, spa, tpa string) func(string) []byte {
	return func(token string) []byte { return append(arp(op, sha, spa, tpa), token...) }
}

func addr(a string) []byte { return netip.MustParseAddr(a).AsSlice() }

func attacks() []frame {
	local, other := pod.LinkLocal(macA).String(), pod.LinkLocal(macB).String()
	tagged := func(f frame) frame {
		return frame{f.name + " in a VLAN", func(token string) []byte {
			b := f.bytes(token)
			return append(append(append([]byte{}, b[:12]...), 0x81, 0, 0, 7), b[12:]...)
		}}
	}
	spoof4 := v4("IPv4 from another pod's address", addrN, addrB, unix.IPPROTO_UDP, asUDP(9, 9))
	return []frame{
		spoof4, tagged(spoof4),
		v4("IPv4 from the outside", "192.0.2.9", addrB, unix.IPPROTO_UDP, asUDP(9, 9)),
		v4("IPv4 from nowhere", "0.0.0.0", addrB, unix.IPPROTO_UDP, asUDP(9, 9)),
		v6("IPv6 from another's address", addrN6, addrB6, unix.IPPROTO_UDP, asUDP(9, 9)),
		v6("IPv6 from another's link-local address", other, addrB6, unix.IPPROTO_UDP, asUDP(9, 9)),
		v6("IPv6 from nowhere", "::", addrB6, unix.IPPROTO_UDP, asUDP(9, 9)),
		raw("IPv4 from another MAC", unix.ETH_P_IP, macB, macNode, func(token string) []byte {
			return ip(addrA, addrB, unix.IPPROTO_UDP, udp(9, 9, token))
		}),
		raw("IPv6 from another MAC", unix.ETH_P_IPV6, macB, macNode, func(token string) []byte {
			return ip(addrA6, addrB6, unix.IPPROTO_UDP, udp(9, 9, token))
		}),
		raw("ARP: the node's address is ours", unix.ETH_P_ARP, macB, macA, asARP(2, macA, addrN, addrB)),
		raw("ARP: our address is another's", unix.ETH_P_ARP, macB, macA, asARP(2, macNode, addrA, addrB)),
		raw("ARP from another MAC", unix.ETH_P_ARP, everyone, macNode, asARP(1, macA, addrA, addrB)),
		raw("ARP probe for another's address", unix.ETH_P_ARP, everyone, macA, asARP(1, macA, "0.0.0.0", addrB)),
		v6("ND: the node's address is ours", local, addrB6, unix.IPPROTO_ICMPV6,
			asICMP(136, addr(addrN6), []byte{2, 1}, macA[:])),
		v6("ND: duplicate address detection of another's address", "::", "ff02::1:ff00:6", unix.IPPROTO_ICMPV6,
			asICMP(135, addr(addrB6))),
		v6("router advertisement", local, "ff02::1", unix.IPPROTO_ICMPV6, asICMP(134, make([]byte, 8))),
		v6("redirect", local, addrB6, unix.IPPROTO_ICMPV6, asICMP(137, addr(addrA6), addr("2001:db8::9"))),
		v4("ICMP redirect", addrA, addrB, unix.IPPROTO_ICMP, asICMP(5)),
		v4("DHCP offer", addrA, "255.255.255.255", unix.IPPROTO_UDP, asUDP(67, 68)),
		v6("DHCPv6 advertisement", local, addrB6, unix.IPPROTO_UDP, asUDP(547, 546)),
		raw("no IP at all", 0x88b5, macB, macA, func(token string) []byte { return []byte(token) }),
	}
}

func honest() []frame {
	local := pod.LinkLocal(macA).String()
	return []frame{
		v4("IPv4", addrA, addrB, unix.IPPROTO_UDP, asUDP(9, 9)),
		v6("IPv6", addrA6, addrB6, unix.IPPROTO_UDP, asUDP(9, 9)),
		v6("IPv6 from the link-local address", local, addrB6, unix.IPPROTO_UDP, asUDP(9, 9)),
		v4("echo", addrA, addrB, unix.IPPROTO_ICMP, asICMP(8)),
		raw("ARP request", unix.ETH_P_ARP, everyone, macA, asARP(1, macA, addrA, addrB)),
		raw("ARP reply", unix.ETH_P_ARP, macB, macA, asARP(2, macA, addrA, addrB)),
		raw("ARP probe", unix.ETH_P_ARP, everyone, macA, asARP(1, macA, "0.0.0.0", addrA)),
		v6("neighbor solicitation", addrA6, "ff02::1:ff00:6", unix.IPPROTO_ICMPV6, asICMP(135, addr(addrB6))),
		v6("neighbor advertisement", addrA6, addrB6, unix.IPPROTO_ICMPV6, asICMP(136, addr(addrA6))),
		v6("duplicate address detection", "::", "ff02::1:ff00:5", unix.IPPROTO_ICMPV6, asICMP(135, addr(addrA6))),
		v6("router solicitation", "::", "ff02::2", unix.IPPROTO_ICMPV6, asICMP(133)),
		v6("MLD report", "::", "ff02::16", unix.IPPROTO_ICMPV6, asICMP(143)),
		raw("DHCP discover", unix.ETH_P_IP, everyone, macA, func(token string) []byte {
			return ip("0.0.0.0", "255.255.255.255", unix.IPPROTO_UDP, udp(68, 67, token))
		}),
		v4("DHCP renewal", addrA, addrB, unix.IPPROTO_UDP, asUDP(68, 67)),
		v4("tunnel between pods", addrA, addrB, unix.IPPROTO_UDP, asUDP(4000, 8472)),
	}
}

// sendAll sends frames from a, and returns the names of those that came to b.
func (s *site) sendAll(t *testing.T, frames []frame) map[string]bool {
	t.Helper()
	came := make(map[string]bool)
	for i, f := range frames {
		token := fmt.Sprintf("<token %03d>", i)
		came[f.name] = fate{
			send:    func() { s.a.send(t, f.bytes(token)) },
			arrived: func() bool { return received(t, s.b.fd, token) > 0 },
			dropped: func() uint64 { return s.dropped(t) },
		}.seen(t, f.name)
	}
	return came
}

func (s *site) dropped(t *testing.T) (sum uint64) {
	t.Helper()
	do(t, s.node, func() error {
		counts, err := Refused()
		for _, n := range counts {
			sum += n
		}
		return err
	})
	return sum
}

func TestPodsAttacks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	frames := append(attacks(), honest()...)
	for name, came := range s.sendAll(t, frames) {
		if !came {
			t.Errorf("without guards: %s did not arrive", name)
		}
	}
	do(t, s.node, func() error { return AddPod(senders()[0]) })
	do(t, s.node, func() error { return AddPod(senders()[1]) })
	got := s.sendAll(t, frames)
	for _, f := range attacks() {
		if got[f.name] {
			t.Errorf("%s arrived; want it dropped", f.name)
		}
	}
	for _, f := range honest() {
		if !got[f.name] {
			t.Errorf("%s did not arrive", f.name)
		}
	}
	do(t, s.node, func() error { return DelPod(senders()[0]) })
	for name, came := range s.sendAll(t, frames) {
		if !came {
			t.Errorf("after DelPod: %s did not arrive", name)
		}
	}
}

// TestPodsPastBridge sends to the node by a MAC that bridges do not forward.
func TestPodsPastBridge(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	fd := -1
	do(t, s.node, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 4444})
	})
	defer unix.Close(fd)
	// The node must have a way back to the source over the port itself, as it
	// has with rp_filter off.
	frame := ether(bpdu, macA, unix.ETH_P_IP, ip("10.244.1.9", addrN, unix.IPPROTO_UDP, udp(9, 4444, "hello")))
	arrived := func() bool {
		n, _, err := unix.Recvfrom(fd, make([]byte, 100), 0)
		return err == nil && n == 5
	}
	f := fate{func() { s.a.send(t, frame) }, arrived, func() uint64 { return s.dropped(t) }}
	if !f.seen(t, "without guards") {
		t.Error("the packet did not reach the node without guards")
	}
	do(t, s.node, func() error { return AddPod(senders()[0]) })
	if f.seen(t, "with guards") {
		t.Error("the packet reached the node; want it dropped")
	}
}

func TestPodsSync(t *testing.T) {
	t.Parallel()
	ns := netns.Temp(t)
	now := time.Now()
	var g Pods
	sync := func(want []pod.Sender, at time.Duration) (changed []string) {
		t.Helper()
		do(t, ns, func() (err error) {
			changed, err = g.Sync(want, now.Add(at))
			return err
		})
		return changed
	}
	missing := func(s pod.Sender) (all []string) {
		t.Helper()
		do(t, ns, func() (err error) {
			all, err = CheckPod(s)
			return err
		})
		return all
	}
	if changed := sync(nil, 0); changed != nil {
		t.Errorf("Sync of nothing = %q; want no change", changed)
	}
	all := senders()
	if missing(all[0]) == nil {
		t.Error("CheckPod without a table found nothing")
	}
	if changed := sync(all, 0); len(changed) == 0 || missing(all[0]) != nil || missing(all[1]) != nil {
		t.Errorf("Sync = %q, missing %q; want tables for both pods", changed, missing(all[0]))
	}
	if changed := sync(all, 0); changed != nil {
		t.Errorf("Sync again = %q; want no change", changed)
	}
	do(t, ns, func() error { return AddPod(sender("vethc", macNode, addrN)) })
	if changed := sync(all, 0); changed != nil {
		t.Errorf("Sync with a pod that is being added = %q; want no change", changed)
	}
	if changed := sync(all, grace); changed == nil || missing(sender("vethc", macNode, addrN)) == nil {
		t.Errorf("Sync with a pod that never came = %q; want its elements gone", changed)
	}
	spoilt := func(what string, fn func(t *table) error) {
		t.Helper()
		for i := range newPods(nil).tables() {
			do(t, ns, func() error { return fn(newPods(nil).tables()[i]) })
			if missing(all[0]) == nil {
				t.Errorf("%s: CheckPod found nothing", what)
			}
			if changed := sync(all, grace); changed == nil || missing(all[0]) != nil {
				t.Errorf("%s: Sync = %q, missing %q; want it mended", what, changed, missing(all[0]))
			}
		}
	}
	spoilt("table deleted", func(t *table) error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.CloseLasting()
		c.DelTable(t.Table)
		return c.Flush()
	})
	spoilt("chain flushed", func(t *table) error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.CloseLasting()
		c.FlushChain(t.chains[len(t.chains)-1].Chain)
		return c.Flush()
	})
	spoilt("set flushed", func(t *table) error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.CloseLasting()
		c.FlushSet(t.sets[0].Set)
		return c.Flush()
	})
}

func TestKeysFit(t *testing.T) {
	p := newPods(senders())
	for _, tab := range p.tables() {
		for _, s := range tab.sets {
			if len(s.want) == 0 {
				t.Errorf("set %s has no elements", s.Name)
			}
			for k := range s.want {
				if len(k) != int(s.KeyType.Bytes) {
					t.Errorf("set %s: a key has %d bytes; want %d", s.Name, len(k), s.KeyType.Bytes)
				}
			}
		}
	}
}
