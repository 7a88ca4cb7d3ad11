// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/local"
)

// A bridgePlan is the part of a round that concerns the pods' bridge. It is
// apart from the overlay's: a bridge is not ours as a whole, and one that cannot
// be restored cuts off no pod of another node.
type bridgePlan struct {
	memory pod.Memory
	sight  pod.Sight
	mtu    int // of new pods, in bytes
	want   network.State
}

// recallBridge takes what the last run knew of the pods' bridge. A file that
// cannot be read costs no more than the repair of a bridge that is gone already.
func (a *Agent) recallBridge() {
	var m pod.Memory
	kept, err := local.LoadBridge(a.settings.RunDir)
	if err == nil && kept.Name != "" {
		m = pod.Memory{Name: kept.Name, Promisc: kept.Promisc, Gateways: kept.Gateways, Ports: kept.Ports}
		m.MAC, err = network.ParseMAC(kept.MAC)
	}
	if err != nil {
		a.log.Warn("the pods' bridge of the last run is not known", "err", err)
		m = pod.Memory{}
	}
	a.bridge.Store(&m)
}

// planBridge learns of the pods' bridge, keeps that for the next start, and says
// what it must be like.
func (a *Agent) planBridge(v view, self backend.Self) bridgePlan {
	s := sightOf(v)
	s.Links, s.Addresses = self.Links, a.seen.addresses
	was := *a.bridge.Load()
	m := pod.Learn(was, s)
	if !reflect.DeepEqual(was, m) {
		a.bridge.Store(&m)
		if was.Name != m.Name {
			a.log.Info("pods' bridge found", "link", m.Name, "was", was.Name)
		}
		kept := local.Bridge{Name: m.Name, MAC: m.MAC.String(), Promisc: m.Promisc, Gateways: m.Gateways, Ports: m.Ports}
		if err := local.SaveBridge(a.settings.RunDir, kept); err != nil {
			a.log.Warn("a pods' bridge that is deleted while no agent runs stays so", "err", err)
		}
	}
	return bridgePlan{memory: m, sight: s, mtu: a.backend.PodMTU(self)}
}

// look is the plan for the links as they are a moment later. A CNI plugin that
// has just changed one must not find that undone.
func (p bridgePlan) look(links map[string]network.Link) bridgePlan {
	p.sight.Links = links
	p.memory = pod.Learn(p.memory, p.sight)
	p.want = p.memory.Want(p.sight, p.mtu)
	return p
}

// livePods returns the ports of pods that this node made and that are there
// still.
func (a *Agent) livePods(ctx context.Context) (map[string]bool, error) {
	s, m := sightOf(a.facts.view()), *a.bridge.Load()
	var scope kernel.Scope
	have, err := a.kernel.Links(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for pods: %w", err)
	}
	for name, l := range have {
		if l.Kind != network.KindBridge {
			continue
		}
		for _, g := range slices.Concat(s.Gateways, s.Earlier, m.Gateways) {
			scope.Addresses = append(scope.Addresses, network.Address{Link: name, Prefix: g})
		}
	}
	state, err := a.kernel.ReadLinks(ctx, scope)
	if err != nil {
		return nil, fmt.Errorf("look for pods: %w", err)
	}
	s.Links = state.Links
	for addr := range state.Addresses {
		s.Addresses = append(s.Addresses, addr)
	}
	return pod.Learn(m, s).Ports, nil
}

// sightOf returns what the facts say of the pods' bridge.
func sightOf(v view) pod.Sight {
	s := pod.Sight{Earlier: gatewaysOf(v.previous)}
	if v.held {
		s.Gateways = gatewaysOf(v.lease)
	}
	return s
}

// gatewaysOf returns the addresses that the pods of a lease leave through.
func gatewaysOf(l subnet.Lease) []netip.Prefix {
	var all []netip.Prefix
	for e := range l.Endpoints() {
		all = append(all, gatewayOf(e))
	}
	return all
}

// scope adds what is to be read for the bridge.
func (p bridgePlan) scope(s kernel.Scope) kernel.Scope {
	want := p.look(p.sight.Links).want
	s.Addresses = slices.AppendSeq(s.Addresses, maps.Keys(want.Addresses))
	for _, g := range p.memory.Gateways {
		a := network.Address{Link: p.memory.Name, Prefix: g}
		if _, wanted := want.Addresses[a]; !wanted {
			s.Addresses = append(s.Addresses, a) // to be deleted
		}
	}
	s.Sysctls = slices.AppendSeq(s.Sysctls, maps.Keys(want.Sysctls))
	return s
}

// join adds what is wanted of the bridge to the wish for the overlay.
func (p bridgePlan) join(want network.State) network.State {
	want.Links, want.Addresses, want.Sysctls = maps.Clone(want.Links), maps.Clone(want.Addresses), maps.Clone(want.Sysctls)
	maps.Copy(want.Links, p.want.Links)
	maps.Copy(want.Addresses, p.want.Addresses)
	maps.Copy(want.Sysctls, p.want.Sysctls)
	return want
}

// part parts an error of applying the joined plan into that of the overlay and
// that of the bridge.
func (p bridgePlan) part(err error) (overlay, bridge error) {
	bridges, overlays := partEntries(err, p.memory.Owns)
	return errors.Join(overlays...), p.fault(bridges)
}

// partEntries parts an error of applying changes into those of the entries that
// is holds for, and the rest.
func partEntries(err error, is func(entry any) bool) (those, rest []error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			a, b := partEntries(one, is)
			those, rest = append(those, a...), append(rest, b...)
		}
		return those, rest
	}
	switch e, ok := err.(*kernel.EntryError); {
	case err == nil:
	case ok && is(e.Entry):
		those = []error{err}
	default:
		rest = []error{err}
	}
	return those, rest
}

// fault says what could not be restored: the first failures, since a bridge
// that is not there fails each of its ports.
func (p bridgePlan) fault(failed []error) error {
	const most = 3
	if len(failed) == 0 {
		return nil
	}
	var more string
	if n := len(failed) - most; n > 0 {
		failed, more = failed[:most], fmt.Sprintf("\nand %d more", n)
	}
	return fmt.Errorf("restore the pods' bridge %s: %w%s: until then, pods of this node may be cut off. "+
		"See ip -d link show dev %s; ip link show master %s. Pods that are deleted are made anew, and the bridge with them",
		p.memory.Name, errors.Join(failed...), more, p.memory.Name, p.memory.Name)
}
