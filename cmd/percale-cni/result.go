// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/local"
)

// newResult says what was made for an attachment, in the newest version of the
// specification; the library turns it into the one asked for.
func newResult(j *job, bridge network.Link, a pod.Attachment) types.Result {
	port, inside := j.plan.bridge.Port(a), a.State().Links[a.Ifname]
	links := []network.Link{bridge, port, inside}
	r := &types100.Result{CNIVersion: types100.ImplementedSpecVersion, DNS: j.settings.dns}
	for _, l := range links {
		e := &types100.Interface{Name: l.Name, Mac: l.MAC.String()}
		if j.config.CNIVersion == types100.ImplementedSpecVersion { // older ones do not have it
			e.Mtu = l.MTU
		}
		r.Interfaces = append(r.Interfaces, e)
	}
	r.Interfaces[2].Sandbox = j.netns
	for i, p := range a.Addresses {
		r.IPs = append(r.IPs, &types100.IPConfig{
			Interface: types100.Int(2),
			Address:   ipNet(p),
			Gateway:   j.plan.routing.Gateways[i].AsSlice(),
		})
	}
	for _, e := range a.Routes {
		route := &types.Route{Dst: ipNet(e.Dst), GW: e.Via.AsSlice()}
		if e.Metric != pod.DefaultMetric(e.Dst) {
			route.Priority = int(e.Metric)
		}
		r.Routes = append(r.Routes, route)
	}
	return r
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is the inverse of ipNet; the zero Prefix stands for a wrong one.
func prefixOf(n net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if a = a.Unmap(); a.BitLen() != bits {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, ones)
}

// addrOf returns the address of an IP, the zero Addr for none.
func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// attachmentOf reads from a result what it says of one interface of a
// container.
func attachmentOf(r *types100.Result, own local.Owner) (pod.Attachment, error) {
	a := pod.Attachment{Container: own.Container, Ifname: own.Ifname}
	index := slices.IndexFunc(r.Interfaces, func(i *types100.Interface) bool { return i.Sandbox != "" && i.Name == own.Ifname })
	if index < 0 {
		return pod.Attachment{}, fmt.Errorf("it has no interface %s of a container", own.Ifname)
	}
	i := r.Interfaces[index]
	a.MTU = i.Mtu
	if i.Mac != "" {
		var err error
		if a.MAC, err = network.ParseMAC(i.Mac); err != nil {
			return pod.Attachment{}, fmt.Errorf("interface %s: %w", i.Name, err)
		}
	}
	gateways := make(map[bool]netip.Addr) // by whether it is of IPv4
	for _, ip := range r.IPs {
		p := prefixOf(ip.Address)
		if !p.IsValid() {
			return pod.Attachment{}, fmt.Errorf("address %v: want one with its prefix length", ip.Address)
		}
		if ip.Interface == nil || *ip.Interface == index {
			a.Addresses = append(a.Addresses, p)
			gateways[p.Addr().Is4()] = addrOf(ip.Gateway)
		}
	}
	for _, e := range r.Routes {
		dst := prefixOf(e.Dst)
		if !dst.IsValid() || e.Priority < 0 || e.Priority > math.MaxUint32 {
			return pod.Attachment{}, fmt.Errorf("route to %v: want a prefix and a priority of 32 bits", e.Dst)
		}
		a.Routes = append(a.Routes, network.Route{
			Dst: dst.Masked(), Via: cmp.Or(addrOf(e.GW), gateways[dst.Addr().Is4()]), Link: own.Ifname,
			Metric: cmp.Or(uint32(e.Priority), pod.DefaultMetric(dst)), Protocol: network.Protocol,
		})
	}
	return a, nil
}
