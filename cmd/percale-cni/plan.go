// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// A plan is what all pods of the network get on this node.
type plan struct {
	bridge     pod.Bridge
	ranges     []ipam.Range
	routing    pod.Routing
	masquerade bool
	inside     []netip.Prefix // what pods reach under their own addresses
}

// newPlan joins the settings with the subnet file. ipv6 says whether the
// kernel has it.
func newPlan(s settings, e local.Env, ipv6 bool) (plan, error) {
	p := plan{
		bridge:     pod.Bridge{Name: s.bridge, MTU: e.MTU, Hairpin: s.hairpin, Promisc: s.promisc, IPv6: ipv6},
		routing:    pod.Routing{Subnets: e.Subnets(), Given: s.routes, Default: s.defaultRoute},
		masquerade: !e.IPMasq,
	}
	if s.mtu != 0 {
		p.bridge.MTU = s.mtu
	}
	if s.ipMasq != nil {
		p.masquerade = *s.ipMasq
	}
	p.routing.Networks = append(append(p.routing.Networks, e.Networks...), e.IPv6Networks...)
	p.inside = append(append(p.inside, p.routing.Networks...), e.Subnets()...)
	for _, subnet := range e.Subnets() {
		r, err := ipam.NewRange(subnet)
		switch {
		case err != nil:
			return plan{}, err
		case subnet.Addr().Is6() && !ipv6:
			return plan{}, fmt.Errorf("subnet %s: this kernel has no IPv6 (/proc/sys/net/ipv6 is absent): boot without ipv6.disable=1", subnet)
		case subnet.Addr().Is6() && p.bridge.MTU < 1280:
			return plan{}, fmt.Errorf("MTU %d: IPv6 needs at least 1280 bytes (RFC 8200, section 5)", p.bridge.MTU)
		}
		if r, err = r.Restrict(s.within, s.reserved); err != nil {
			return plan{}, fmt.Errorf("%w: change ipam.ranges or ipam.reserved of the network configuration", err)
		}
		p.ranges = append(p.ranges, r)
		p.routing.Gateways = append(p.routing.Gateways, r.Gateway())
		if s.gateway {
			p.bridge.Gateways = append(p.bridge.Gateways, netip.PrefixFrom(r.Gateway(), subnet.Bits()))
		}
	}
	return p, checkWanted(s, p.ranges)
}

// attachment returns the wiring of one pod with an address of each range.
func (p plan) attachment(own local.Owner, addrs []netip.Addr) (pod.Attachment, error) {
	p.routing.Ifname = own.Ifname
	routes, err := p.routing.Routes()
	if err != nil {
		return pod.Attachment{}, codef(types.ErrInvalidNetworkConfig, "network configuration: ipam.routes: %w", err)
	}
	a := pod.Attachment{
		Container: own.Container, Ifname: own.Ifname, MTU: p.bridge.MTU,
		Routes: routes, IPv6: p.bridge.IPv6,
	}
	for i, addr := range addrs {
		a.Addresses = append(a.Addresses, netip.PrefixFrom(addr, p.ranges[i].Subnet.Bits()))
	}
	return a, nil
}

// readEnv reads the subnet file, and says why it is absent if it is.
func readEnv(c config, now time.Time) (local.Env, error) {
	e, err := local.ReadEnv(c.SubnetFile)
	if err == nil {
		return e, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return e, codef(types.ErrDecodingFailure, "%w: percaled writes this file anew when it starts (flanneld too)", err)
	}
	why := "it has left no reason: is it running on this node? (percale status)"
	if w, ok := local.ReadWaiting(c.RunDir); ok {
		why = fmt.Sprintf("it waits: %s (since %s, %s ago)", w.Reason, w.Since.UTC().Format(time.RFC3339), now.Sub(w.Since).Round(time.Second))
	}
	return e, codef(types.ErrTryAgainLater, "failed to load 'subnet.env' file: percaled has not written %s yet: %s", c.SubnetFile, why)
}

// kernelHasIPv6 reports whether this kernel knows IPv6.
func kernelHasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}
