// SPDX-License-Identifier: Apache-2.0

// Package vxlan reaches peers through one VXLAN device per address family
// (RFC 7348). A packet to a pod on another node meets three entries, in this
// order:
//
//	route      the peer's subnet, via the subnet's first address, on the device
//	neighbor   that first address is the peer's VTEP MAC
//	forward    frames to that MAC go to the peer's uplink address (FDB)
//
// None is learned: each is written from the peer's lease, so no packet is ever
// flooded.
package vxlan

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// Name is the type that leases publish.
const Name = "vxlan"

// Backend holds the settings that all nodes of a cluster share.
type Backend struct {
	VNI           int
	Port          int // UDP port, both ways
	MTU           int // of the underlay, in bytes; 0: the uplink's
	GBP           bool
	Learning      bool
	DirectRouting bool // peers on the uplink's own segment are reached without the tunnel
}

var _ backend.Backend = Backend{}

// Overhead returns the bytes that VXLAN adds to each pod packet: outer IP
// (20, or 40 for IPv6), UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348, section 5).
// Pod MTU = uplink MTU - Overhead; a larger one drops full-size packets.
func Overhead(v6 bool) int {
	if v6 {
		return 70
	}
	return 50
}

// Name implements backend.Backend.
func (Backend) Name() string { return Name }

// PodMTU implements backend.Backend. Pods have one MTU for both families, so in
// dual stack it is the smaller one.
func (b Backend) PodMTU(self backend.Self) int {
	mtu := b.deviceMTU(self, false)
	if self.Pools.V6.Enabled() {
		mtu = b.deviceMTU(self, true)
	}
	return mtu
}

func (b Backend) deviceMTU(self backend.Self, v6 bool) int {
	if b.MTU != 0 {
		return b.MTU - Overhead(v6)
	}
	return self.Uplink.MTU - Overhead(v6)
}

// Peer implements backend.Backend.
func (b Backend) Peer(self backend.Self, peer subnet.Lease) (backend.Entries, error) {
	if peer.Backend != Name {
		return backend.Entries{}, fmt.Errorf("backend type %q: this node runs %q, and both ends must run the same", peer.Backend, Name)
	}
	var entries backend.Entries
	var errs []error
	for f := range self.Families() {
		if theirs := f.Of(peer); theirs.Subnet.IsValid() {
			errs = append(errs, b.add(&entries, hop{self, f, theirs}))
		}
	}
	return entries, errors.Join(errs...)
}

// A hop is the way from this node to one subnet of a peer.
type hop struct {
	self   backend.Self
	family backend.Family
	peer   subnet.Endpoint
}

func (b Backend) add(entries *backend.Entries, h hop) error {
	if b.DirectRouting && h.self.Uplink.Reaches(h.peer.Uplink) {
		entries.Routes = append(entries.Routes, backend.DirectRoute(h.self, h.family, h.peer))
		return nil
	}
	mac, err := b.peerMAC(h.peer)
	if err != nil {
		return err
	}
	link := b.deviceName(h.self, h.family)
	vtep := h.peer.Subnet.Addr() // the first address, by convention
	entries.Forwards = append(entries.Forwards, network.Forward{Link: link, MAC: mac, Dst: h.peer.Uplink})
	entries.Neighbors = append(entries.Neighbors, network.Neighbor{Link: link, IP: vtep, MAC: mac})
	entries.Routes = append(entries.Routes, network.Route{
		Dst:      h.peer.Subnet,
		Via:      vtep,
		Link:     link,
		Onlink:   true,
		Metric:   h.family.Pool.Index(h.peer.Subnet),
		Protocol: network.Protocol,
	})
	return nil
}

// peerMAC returns the MAC that a peer published, if frames to it would arrive.
func (b Backend) peerMAC(peer subnet.Endpoint) (network.MAC, error) {
	v, err := ParseVTEP(peer.Data)
	if err != nil {
		return network.MAC{}, fmt.Errorf("%s: %w", peer.Subnet, err)
	}
	if v.VNI != 0 && v.VNI != b.VNI {
		return network.MAC{}, fmt.Errorf("%s: VNI %d: this node uses %d, and both ends must use the same", peer.Subnet, v.VNI, b.VNI)
	}
	return v.MAC, nil
}

// Devices implements backend.Backend.
func (b Backend) Devices(self backend.Self) (network.State, error) {
	state := network.NewState()
	for f := range self.Families() {
		if !f.Local.IsValid() {
			return network.State{}, fmt.Errorf("uplink %s has no %s address to send from", self.Uplink.Name, familyName(f.V6))
		}
		link := b.device(self, f)
		if what := b.stranger(self, f, link.Name); what != "" {
			return network.State{}, fmt.Errorf("%s and %s are both links of others (the latter is %s), so the overlay device has no name: "+
				"give one of them another: ip link set dev %s name other0", usualName(b.VNI, f.V6), link.Name, what, link.Name)
		}
		if b.MTU > self.Uplink.MTU {
			return network.State{}, fmt.Errorf("\"MTU\": %d of the Backend is the underlay's, and %s carries %d: remove it, or raise that of %s",
				b.MTU, self.Uplink.Name, self.Uplink.MTU, self.Uplink.Name)
		}
		if min := minMTU(f.V6); link.MTU < min {
			return network.State{}, fmt.Errorf("MTU %d of %s leaves %d bytes for pods, and %s needs %d: set \"MTU\" of the Backend to what the underlay carries",
				link.MTU+Overhead(f.V6), self.Uplink.Name, link.MTU, familyName(f.V6), min)
		}
		state.Links[link.Name] = link
		base := f.Own.Subnet.Addr()
		addr := network.Address{Link: link.Name, Prefix: netip.PrefixFrom(base, base.BitLen())}
		state.Addresses[addr] = addr
		// Router advertisements from whoever reaches the tunnel must not
		// change our routes (CVE-2020-10749).
		ra := network.Sysctl{Path: "net/ipv6/conf/" + link.Name + "/accept_ra", Value: "0"}
		state.Sysctls[ra.Path] = ra
		if f.V6 { // a new device takes after net/ipv6/conf/default, which may say otherwise
			on := network.Sysctl{Path: "net/ipv6/conf/" + link.Name + "/disable_ipv6", Value: "0"}
			state.Sysctls[on.Path] = on
		}
	}
	return state, nil
}

func familyName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// minMTU is the least that a link of the family must carry (RFC 791, RFC 8200).
func minMTU(v6 bool) int {
	if v6 {
		return 1280
	}
	return 68
}
