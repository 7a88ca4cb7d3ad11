// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/network/firewall/guard"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
)

// guarded reports whether pods are to be guarded, and whether a kernel that
// cannot do so is an error.
func (c config) guarded() (on, must bool) {
	if c.Guard == nil {
		return true, false
	}
	return *c.Guard, *c.Guard
}

// guard holds the pod to its own addresses, and is called before its interface
// goes up. Without it the agent does so later, as the alias of the port says.
func (j *job) guard(s pod.Sender) error {
	on, must := j.config.guarded()
	if !on {
		return nil
	}
	j.undos = append(j.undos, func(context.Context) error { return guard.DelPod(s) })
	err := guard.AddPod(s)
	switch {
	case !errors.Is(err, guard.ErrNoNFTables):
		return err
	case must:
		return codef(types.ErrInternal, "%w: load the module nf_tables, or remove \"guard\" from the network configuration, and pods can send from any address", err)
	}
	return nil
}

// pruneGuards removes what is left of guards whose ports are gone.
func pruneGuards(ctx context.Context, host *kernel.Conn) error {
	return guard.Prune(func(ports []string) ([]string, error) {
		links, err := host.Links(ctx)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(ports, func(p string) bool {
			_, there := links[p]
			return there
		}), nil
	})
}

// guard notes what lets the pod send what it must not, or keeps it from sending
// what is its own. Pods made before there were guards have none.
func (k *checker) guard(ctx context.Context, c *kernel.Conn) error {
	on, must := k.config.guarded()
	if !on {
		return nil
	}
	port, _ := pod.HostEnd(k.want.Container, k.want.Ifname)
	text, err := c.Alias(ctx, port)
	if err != nil {
		return err
	}
	s, ok, err := pod.ParseSender(port, text)
	if err != nil {
		k.note("%v", err)
	}
	if !ok || err != nil {
		if must {
			k.note("the pod is not guarded: it can send from any address")
		}
		return nil
	}
	k.sender(s)
	wrong, err := guard.CheckPod(s)
	if errors.Is(err, guard.ErrNoNFTables) && !must {
		return nil
	}
	for _, w := range wrong {
		k.note("its guard is not as it should be (nft list table bridge %s): %s", guard.PodTable, w)
	}
	return err
}

// sender notes in what s differs from the result of ADD.
func (k *checker) sender(s pod.Sender) {
	if !k.want.MAC.IsZero() && s.MAC != k.want.MAC {
		k.note("its guard lets it send from MAC %s, not %s", s.MAC, k.want.MAC)
	}
	for _, p := range k.want.Addresses {
		if !slices.Contains(s.Addrs, p.Addr()) {
			k.note("its guard does not let it send from %s", p.Addr())
		}
	}
	for _, a := range s.Addrs {
		if !slices.ContainsFunc(k.want.Addresses, func(p netip.Prefix) bool { return p.Addr() == a }) {
			k.note("its guard lets it send from %s, which is not its own", a)
		}
	}
}
