// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/percale-net/percale/network"
)

// What a lab's underlay looks like. Labs may use the same addresses: no lab
// sees another.
const (
	UplinkMTU  = 1500 // bytes
	UplinkName = "eth0"
	etcdPort   = 2379
	// staticRoute marks the underlay's routes as an administrator's (RTPROT_STATIC).
	staticRoute = 4
)

// An underlay is one switch with the addresses behind it. Its gateway is the
// switch itself: an address of the bridge, whose namespace routes.
type underlay struct {
	bridge string
	v4, v6 netip.Prefix // the gateway's address with the prefix length
}

// underlays returns the switches of a lab with the families that it has.
func (s Spec) underlays() []underlay {
	var us []underlay
	for i := range s.Switches {
		u := underlay{bridge: fmt.Sprintf("sw%d", i+1)}
		if s.Families.V4() {
			u.v4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(77 + i), 1}), 24)
		}
		if s.Families.V6() {
			u.v6 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: byte(0x77 + i), 15: 1}), 64)
		}
		us = append(us, u)
	}
	return us
}

// gateways returns the switch's addresses, one per family.
func (u underlay) gateways() []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range []netip.Prefix{u.v4, u.v6} {
		if p.IsValid() {
			ps = append(ps, p)
		}
	}
	return ps
}

// host returns the addresses of the node with that number, from 1, one per
// family.
func (u underlay) host(index int) []netip.Prefix {
	ps := u.gateways()
	for i, p := range ps {
		b := p.Addr().AsSlice()
		b[len(b)-1] = byte(10 + index)
		a, _ := netip.AddrFromSlice(b)
		ps[i] = netip.PrefixFrom(a, p.Bits())
	}
	return ps
}

// underlayOf returns the switch of the node with that number.
func (s Spec) underlayOf(index int) underlay { return s.underlays()[(index-1)%s.Switches] }

// fabricMAC derives a fixed address, so that a bridge keeps its own when ports
// come and go, and neighbors stay right.
func fabricMAC(kind, index int) network.MAC {
	return network.MAC{0x02, 0x70, 0x6c, byte(kind), byte(index >> 8), byte(index)}
}

// etcdEndpoint is where every node reaches etcd: the first switch.
func (s Spec) etcdEndpoint() string {
	gw := s.underlays()[0].gateways()[0].Addr()
	return "http://" + netip.AddrPortFrom(gw, etcdPort).String()
}

// EtcdPrefix is the key prefix of one pod network, counted from 0.
func (s Spec) EtcdPrefix(network int) string {
	if network == 0 {
		return "/coreos.com/network"
	}
	return fmt.Sprintf("/coreos.com/network%d", network+1)
}

// bridgeName is the pod bridge of one network.
func bridgeName(network int) string { return fmt.Sprintf("cni%d", network) }

// Root is where labs keep their files, each in a folder of its own.
const Root = "/run/percale-lab"

func dirOf(lab string) string { return filepath.Join(Root, lab) }

func switchNS(lab string) string            { return lab + "-sw" }
func nodeNS(lab string, index int) string   { return fmt.Sprintf("%s-n%d", lab, index) }
func podNS(node string, n int) string       { return fmt.Sprintf("%s-p%d", node, n) }
func agentRole(node string, net int) string { return fmt.Sprintf("%s/percaled%d", node, net) }
