// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/local"
)

// writeEnv tells CNI plugins what this node's pods get. The file is not touched
// if it says so already.
func (a *Agent) writeEnv(v view, self backend.Self) error {
	env := local.Env{MTU: a.backend.PodMTU(self), IPMasq: a.settings.IPMasq}
	if v.lease.V4.Subnet.IsValid() {
		env.Networks, env.Subnet = inEnv(a.conf.Pools.V4, v.lease.V4)
	}
	if v.lease.V6.Subnet.IsValid() {
		env.IPv6Networks, env.IPv6Subnet = inEnv(a.conf.Pools.V6, v.lease.V6)
	}
	if err := local.WriteEnv(a.settings.SubnetFile, env); err != nil {
		return fmt.Errorf("tell CNI plugins of the subnet: %w", err)
	}
	a.seen.told, a.seen.podMTU = v.lease.Subnets(), env.MTU
	return nil
}

// inEnv returns the network and the pods' gateway.
func inEnv(p subnet.Pool, e subnet.Endpoint) ([]netip.Prefix, netip.Prefix) {
	return []netip.Prefix{p.Network}, gatewayOf(e)
}

// gatewayOf returns the pods' gateway: the first usable address.
func gatewayOf(e subnet.Endpoint) netip.Prefix {
	return netip.PrefixFrom(e.Subnet.Addr().Next(), e.Subnet.Bits())
}
