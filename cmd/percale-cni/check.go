// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/firewall/podmasq"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/local"
)

// check compares what ADD made, as its result says, with what there is, and
// names every difference. What other plugins added is no difference.
func check(args *request) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	own, err := owner(args)
	if err != nil {
		return err
	}
	s, err := c.settings("")
	if err != nil {
		return err
	}
	prev, err := c.prevResult()
	if err != nil {
		return err
	}
	result, err := types100.NewResultFromResult(prev)
	if err != nil {
		return codef(types.ErrDecodingFailure, "network configuration: prevResult: %w", err)
	}
	a, err := attachmentOf(result, own)
	if err != nil {
		return codef(types.ErrInvalidNetworkConfig, "network configuration: prevResult: %w", err)
	}
	masquerade := s.ipMasq != nil && *s.ipMasq
	// What only the subnet file tells is not compared without it.
	if e, err := readEnv(c, time.Now()); err == nil {
		masquerade = masquerade || s.ipMasq == nil && !e.IPMasq
		a.MTU = cmp.Or(a.MTU, s.mtu, e.MTU)
	}
	k := checker{config: c, settings: s, result: result, want: a, masquerade: masquerade}
	if err := k.run(context.Background(), c, args.Netns); err != nil {
		return coded(types.ErrInternal, err)
	}
	if len(k.found) > 0 {
		return codef(codeDrifted, "interface %s of container %s is not as ADD left it: %s: deleting the pod, so that it is made anew, repairs it",
			args.IfName, args.ContainerID, strings.Join(k.found, "; "))
	}
	return nil
}

// A checker collects differences.
type checker struct {
	config     config
	settings   settings
	result     *types100.Result
	want       pod.Attachment
	masquerade bool
	found      []string
}

func (k *checker) note(format string, args ...any) {
	k.found = append(k.found, fmt.Sprintf(format, args...))
}

func (k *checker) run(ctx context.Context, c config, netns string) error {
	inside, err := openPod(netns)
	if err != nil {
		return coded(types.ErrInvalidNetNS, err)
	}
	defer inside.Close()
	host, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	return errors.Join(k.inside(ctx, inside), k.outside(ctx, host), k.addresses(c), k.guard(ctx, host))
}

// inside compares the pod's namespace.
func (k *checker) inside(ctx context.Context, c *kernel.Conn) error {
	name := k.want.Ifname
	have, err := c.Read(ctx, kernel.Scope{Devices: []string{name}})
	if err != nil {
		return err
	}
	want := k.want.State()
	want.Sysctls = nil // the tuning plugin may have its own idea
	l, h := want.Links[name], have.Links[name]
	l.MAC, l.Promisc = k.want.MAC, h.Promisc
	want.Links[name] = l
	for key, r := range have.Routes {
		r.Protocol = want.Routes[key].Protocol // whoever made it
		have.Routes[key] = r
	}
	ch := network.Compare(have, want)
	for _, l := range ch.SetLinks {
		k.link(have.Links, l)
	}
	for _, a := range ch.SetAddresses {
		k.note("%s lacks address %s", name, a.Prefix)
	}
	return k.routes(ctx, c, ch.SetRoutes)
}

// routes notes those of the missing routes that no other interface of the pod
// has: of two attachments to one network, the first one has them.
func (k *checker) routes(ctx context.Context, c *kernel.Conn, missing []network.Route) error {
	if len(missing) == 0 {
		return nil
	}
	links, err := c.Links(ctx)
	if err != nil {
		return err
	}
	all, err := c.Read(ctx, kernel.Scope{Devices: slices.Collect(maps.Keys(links))})
	if err != nil {
		return err
	}
	for _, r := range missing {
		if have, ok := all.Routes[r.Key()]; !ok || have.Link == k.want.Ifname {
			k.note("the route to %s via %s is missing", r.Dst, r.Via)
		}
	}
	return nil
}

// outside compares the bridge and its port.
func (k *checker) outside(ctx context.Context, c *kernel.Conn) error {
	b := pod.Bridge{Name: k.settings.bridge, MTU: k.want.MTU, Hairpin: k.settings.hairpin, Promisc: k.settings.promisc}
	for _, ip := range k.result.IPs {
		p := prefixOf(ip.Address)
		if g := addrOf(ip.Gateway); k.settings.gateway && p.Contains(g) {
			b.Gateways = append(b.Gateways, netip.PrefixFrom(g, p.Bits()))
		}
	}
	want := b.State()
	port := b.Port(k.want)
	port.Name, port.MAC = k.portName(port.Name), network.MAC{}
	scope := kernel.Scope{Devices: []string{b.Name, port.Name}}
	for path := range want.Sysctls {
		scope.Sysctls = append(scope.Sysctls, path)
	}
	have, err := c.ReadDevices(ctx, scope)
	if err != nil {
		return err
	}
	bridge := b.Adopt(have.Links[b.Name])
	bridge.MTU = 0 // follows the subnet file, not this pod
	want.Links[b.Name] = bridge
	port.Promisc = have.Links[port.Name].Promisc
	want.Links[port.Name] = port
	ch := network.Compare(have, want)
	for _, l := range ch.SetLinks {
		k.link(have.Links, l)
	}
	for _, a := range ch.SetAddresses {
		k.note("bridge %s lacks the gateway address %s", b.Name, a.Prefix)
	}
	for _, s := range ch.SetSysctls {
		k.note("%s is %q, not %s", s.Path, have.Sysctls[s.Path].Value, s.Value)
	}
	return nil
}

// portName returns the name of the node's end of the pair: the result's, where
// another plugin made the pod and took this one for it.
func (k *checker) portName(ours string) string {
	name := ours
	for _, i := range k.result.Interfaces {
		if i.Sandbox == "" && i.Name == ours {
			return ours
		}
		if i.Sandbox == "" && i.Name != k.settings.bridge {
			name = i.Name
		}
	}
	return name
}

// link notes in what a link differs from the wish for it.
func (k *checker) link(have map[string]network.Link, want network.Link) {
	h, ok := have[want.Name]
	if !ok {
		k.note("link %s is missing", want.Name)
		return
	}
	differ := func(what string, have, want any) {
		if have != want {
			k.note("%s of %s is %v, not %v", what, h.Name, have, want)
		}
	}
	differ("kind", h.Kind, want.Kind)
	if want.MTU != 0 {
		differ("MTU", h.MTU, want.MTU)
	}
	if !want.MAC.IsZero() {
		differ("MAC", h.MAC, want.MAC)
	}
	differ("state up", h.Up, want.Up)
	differ("bridge", h.Master, want.Master)
	differ("hairpin mode", h.Hairpin, want.Hairpin)
	differ("promiscuous mode", h.Promisc, want.Promisc)
}

// addresses compares the files of the pod's addresses, and who hides them.
func (k *checker) addresses(c config) error {
	store, err := c.store()
	if err != nil {
		return err
	}
	owned, err := store.Owned(local.Owner{Container: k.want.Container, Ifname: k.want.Ifname})
	if err != nil {
		return err
	}
	for _, p := range k.want.Addresses {
		if !slices.Contains(owned, p.Addr()) {
			k.note("address %s is not reserved for this container: another pod may get it", p.Addr())
		}
	}
	if !k.masquerade {
		return nil
	}
	missing, err := podmasq.Missing(owned)
	for _, a := range missing {
		k.note("%s is not masqueraded (nft list table inet %s)", a, podmasq.Table)
	}
	return err
}
