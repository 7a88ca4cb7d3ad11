// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/firewall/podmasq"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/local"
)

// del takes back what add did, as far as it is there: it needs neither the
// container's namespace nor the subnet file. The addresses go last: when
// anything fails, the runtime calls again and finds them, and nobody else gets
// an address that may still be in use. The pod's guard is left to the agent and
// to GC: without its port it means nothing, and the kernel waits some 10 ms
// (for RCU) when a socket is closed that rules or elements were deleted by.
func del(args *request) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	store, err := c.store()
	if err != nil {
		return err
	}
	own, err := owner(args)
	if err != nil {
		return err
	}
	stores := []local.Store{store}
	flannel, ok := readFlannelState(c.DataDir, c.Name, own.Container)
	if ok { // the pod is one of flannel's plugin, which may have kept addresses elsewhere
		if other, err := flannel.store(); err == nil && other != store {
			stores = append(stores, other)
		}
	}
	ctx := context.Background()
	if err := unwire(ctx, own, args.Netns); err != nil {
		return coded(types.ErrInternal, err)
	}
	for _, s := range stores {
		if err := release(ctx, s, own); err != nil {
			return err
		}
	}
	if ok {
		if err := removeFlannelState(c.DataDir, c.Name, own.Container); err != nil {
			return coded(types.ErrIOFailure, err)
		}
	}
	return nil
}

// release ends the masquerading of own's addresses, and frees them.
func release(ctx context.Context, store local.Store, own local.Owner) error {
	addrs, err := store.Owned(own)
	if err != nil {
		return coded(types.ErrIOFailure, err)
	}
	if err := podmasq.Del(addrs); err != nil {
		return coded(types.ErrInternal, err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := store.Free(ctx, own, addrs); err != nil {
		return coded(types.ErrIOFailure, err)
	}
	return nil
}

// unwire deletes the veth pair, by its end on the node or, if another plugin
// made it under a name that we do not know, by its end in the pod.
func unwire(ctx context.Context, own local.Owner, netns string) error {
	host, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer host.Close()
	port, _ := pod.HostEnd(own.Container, own.Ifname)
	there, err := host.Has(port)
	if err == nil && there {
		return host.DelLink(ctx, port) // and its other end with it
	}
	if err != nil || netns == "" {
		return err
	}
	inside, err := openPod(netns)
	if errors.Is(err, errNoNetns) {
		return nil // and its links with it
	}
	if err != nil {
		return coded(types.ErrInvalidNetNS, err)
	}
	defer inside.Close()
	have, err := inside.ReadDevices(ctx, kernel.Scope{Devices: []string{own.Ifname}})
	if err != nil || have.Links[own.Ifname].Kind != network.KindVeth {
		return err
	}
	return inside.DelLink(ctx, own.Ifname)
}
