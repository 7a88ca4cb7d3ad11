// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/network/firewall/podmasq"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/local"
)

// gc takes back what attachments of this network hold that the runtime does not
// name as valid: ports, masquerading, addresses, in this order, so that what
// fails is found again the next time. The specification forbids the runtime to
// call anything else of the network meanwhile.
func gc(args *request) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	valid, err := c.valid()
	if err != nil {
		return err
	}
	g := collector{network: c.Name, valid: valid, flannel: c.DataDir}
	if g.store, err = c.store(); err != nil {
		return err
	}
	if g.host, err = kernel.Open(""); err != nil {
		return coded(types.ErrInternal, err)
	}
	defer g.host.Close()
	if e, err := readEnv(c, time.Now()); err == nil { // without it, less is known to be ours
		g.subnets = e.Subnets()
	}
	if err := g.run(context.Background()); err != nil {
		return coded(types.ErrInternal, err)
	}
	return nil
}

// attachments are those that a runtime has.
type attachments map[local.Owner]bool

// valid reads what the runtime has. A list that is not there is no empty one.
func (c config) valid() (attachments, error) {
	raw := c.Valid
	if raw == nil {
		raw = c.OldValid
	}
	if raw == nil {
		return nil, codef(types.ErrInvalidNetworkConfig, "network configuration: GC needs cni.dev/valid-attachments, the list of what is not to be deleted")
	}
	var list []types.GCAttachment
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, codef(types.ErrDecodingFailure, "network configuration: cni.dev/valid-attachments: %w", err)
	}
	valid := make(attachments, 2*len(list))
	for i, a := range list {
		own := local.Owner{Container: a.ContainerID, Ifname: a.IfName}
		if err := own.Check(); err != nil {
			return nil, codef(types.ErrInvalidNetworkConfig, "network configuration: cni.dev/valid-attachments[%d]: %w", i, err)
		}
		valid[own] = true
		valid[local.Owner{Container: a.ContainerID}] = true // entries of old host-local versions
	}
	return valid, nil
}

// A collector does one GC.
type collector struct {
	network string
	valid   attachments
	store   local.Store
	host    *kernel.Conn
	subnets []netip.Prefix // of this node
	flannel string         // where flannel's plugin keeps its state
}

func (g collector) run(ctx context.Context) error {
	if err := g.store.Settle(ctx); err != nil {
		return err
	}
	masqueraded, err := podmasq.Pods() // before the entries: what has none later is of nobody
	if err != nil {
		return err
	}
	entries, err := g.store.Entries()
	if err != nil {
		return err
	}
	var stale []local.Entry
	used := make(map[netip.Addr]bool)
	for _, e := range entries {
		if g.valid[e.Owner] {
			used[e.Addr] = true
		} else {
			stale = append(stale, e)
		}
	}
	if err := g.ports(ctx, stale); err != nil {
		return err
	}
	if err := pruneGuards(ctx, g.host); err != nil {
		return err
	}
	if err := podmasq.Del(g.lost(masqueraded, used)); err != nil {
		return err
	}
	var errs []error
	for _, e := range stale {
		errs = append(errs, g.store.Free(ctx, e.Owner, []netip.Addr{e.Addr}))
	}
	return errors.Join(append(errs, removeFlannelStates(g.flannel, g.network, g.valid))...)
}

// ports deletes the ports whose alias says that they are of this network and of
// no valid attachment, and those of stale entries, unless their alias says that
// they are of another network.
func (g collector) ports(ctx context.Context, stale []local.Entry) error {
	aliases, err := g.host.Aliases(ctx)
	if err != nil {
		return err
	}
	unwanted := make(map[string]bool)
	for _, e := range stale {
		if port, _ := pod.HostEnd(e.Owner.Container, e.Owner.Ifname); aliases[port] == "" && e.Owner.Container != "" {
			unwanted[port] = true
		}
	}
	for port, text := range aliases {
		if network, own, ok := parseAlias(text); ok && network == g.network && !g.valid[own] && pod.IsHostEnd(port) {
			unwanted[port] = true
		}
	}
	return delLinks(ctx, slices.Sorted(maps.Keys(unwanted)))
}

// delLinks deletes links in as many threads as are of use: for each one the
// kernel makes the caller wait some 20 ms (for RCU), which many can do at once.
func delLinks(ctx context.Context, names []string) error {
	const atOnce = 16
	errs := make([]error, atOnce)
	var wg sync.WaitGroup
	for i := range min(atOnce, len(names)) {
		wg.Go(func() {
			host, err := kernel.Open("") // one socket would make all wait for each
			if err != nil {
				errs[i] = err
				return
			}
			defer host.Close()
			for k := i; k < len(names); k += atOnce {
				errs[i] = errors.Join(errs[i], host.DelLink(ctx, names[k]))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// lost returns the masqueraded addresses of this node's subnets that no valid
// attachment has.
func (g collector) lost(masqueraded []netip.Addr, used map[netip.Addr]bool) []netip.Addr {
	var lost []netip.Addr
	for _, a := range masqueraded {
		for _, s := range g.subnets {
			if s.Contains(a) && !used[a] {
				lost = append(lost, a)
			}
		}
	}
	return lost
}
