// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
)

// addNamespace writes a namespace down and makes it. A name that somebody else
// uses is an error before it is written down, or Down would remove it.
func (l *Lab) addNamespace(name string) (netns.NS, error) {
	if _, err := os.Stat(netns.Named(name).Path()); !errors.Is(err, fs.ErrNotExist) {
		return netns.NS{}, fmt.Errorf("create namespace %s: the name is in use, and not by this lab", name)
	}
	if err := l.update(func(r *record) { r.Namespaces = append(r.Namespaces, name) }); err != nil {
		return netns.NS{}, err
	}
	return netns.Create(name)
}

// apply makes changes in one namespace.
func apply(ctx context.Context, ns netns.NS, c network.Changes) error {
	conn, err := kernel.Open(ns.Path())
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Apply(ctx, c)
}

// quiet lists the settings of every namespace of the fabric: an IPv6 address is
// usable at once, as nobody else can have it.
func quiet() []network.Sysctl {
	return []network.Sysctl{
		{Path: "net/ipv6/conf/all/accept_dad", Value: "0"},
		{Path: "net/ipv6/conf/default/accept_dad", Value: "0"},
	}
}

// buildSwitches makes the namespace of the switches. A second switch is joined
// to the first by routing in that namespace, as a router between two racks.
func (l *Lab) buildSwitches(ctx context.Context) error {
	ns, err := l.addNamespace(switchNS(l.Name()))
	if err != nil {
		return err
	}
	err = apply(ctx, ns, network.Changes{SetSysctls: append(quiet(),
		network.Sysctl{Path: "net/ipv4/ip_forward", Value: "1"},
		network.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"},
	)})
	if err != nil {
		return err
	}
	var c network.Changes
	for i, u := range l.spec().underlays() {
		c.SetLinks = append(c.SetLinks, network.Link{
			Name: u.bridge, Kind: network.KindBridge, MTU: UplinkMTU, MAC: fabricMAC(0, i+1), Up: true,
		})
		for _, gw := range u.gateways() {
			c.SetAddresses = append(c.SetAddresses, network.Address{Link: u.bridge, Prefix: gw})
		}
	}
	return apply(ctx, ns, c)
}

// buildNode makes the namespace of a node and plugs it into its switch.
func (l *Lab) buildNode(ctx context.Context, n *Node) error {
	ns, err := l.addNamespace(nodeNS(l.Name(), n.rec.Index))
	if err != nil {
		return err
	}
	if err := apply(ctx, ns, network.Changes{SetSysctls: quiet()}); err != nil {
		return err
	}
	u := l.spec().underlayOf(n.rec.Index)
	if err := l.plug(n, u); err != nil {
		return err
	}
	var c network.Changes
	for _, p := range u.host(n.rec.Index) {
		c.SetAddresses = append(c.SetAddresses, network.Address{Link: UplinkName, Prefix: p})
	}
	for _, gw := range u.gateways() {
		c.SetRoutes = append(c.SetRoutes, defaultRoute(gw.Addr()))
	}
	return apply(ctx, ns, c)
}

// plug joins a node's uplink to a port of its switch.
func (l *Lab) plug(n *Node, u underlay) error {
	node, err := kernel.Open(n.NS().Path())
	if err != nil {
		return err
	}
	defer node.Close()
	sw, err := kernel.Open(l.Switch().Path())
	if err != nil {
		return err
	}
	defer sw.Close()
	return kernel.AddVeth(
		node, network.Link{Name: UplinkName, MTU: UplinkMTU, MAC: fabricMAC(1, n.rec.Index), Up: true},
		sw, network.Link{Name: fmt.Sprintf("n%d", n.rec.Index), MTU: UplinkMTU, Master: u.bridge, Up: true},
	)
}

func defaultRoute(via netip.Addr) network.Route {
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if via.Is6() {
		anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return network.Route{Dst: anywhere, Via: via, Link: UplinkName, Metric: 1024, Protocol: staticRoute}
}
