// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/percale-net/percale/subnet"
)

// A NetConf is the network of a whole cluster. It comes from ParseNetConf,
// checked: at least one pool is enabled.
type NetConf struct {
	Pools    subnet.Pools // a zero pool: the family is off
	Backend  Backend
	Firewall Firewall
}

// A Firewall names the engine that holds our rules.
type Firewall string

// The engines. Auto is nftables where the kernel has it, else iptables.
const (
	FirewallAuto     Firewall = ""
	FirewallNFTables Firewall = "nftables"
	FirewallIptables Firewall = "iptables"
)

// maxNetConf bounds a net-conf, in bytes; a real one has some hundred.
const maxNetConf = 64 << 10

var netConfKeys = []string{
	"Network", "SubnetLen", "SubnetMin", "SubnetMax", "EnableIPv4",
	"IPv6Network", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax", "EnableIPv6",
	"EnableNFTables", "Firewall", "Backend",
}

// ParseNetConf reads a net-conf in JSON with flannel's keys, whatever their case.
// An error joins one *Problem for each thing that is wrong.
func ParseNetConf(raw []byte) (NetConf, error) {
	var wrong problems
	if len(raw) > maxNetConf {
		wrong.add("net-conf", nil, fmt.Sprintf("want at most %d bytes: it has %d", maxNetConf, len(raw)))
		return NetConf{}, errors.Join(wrong...)
	}
	if !wrong.syntax(raw) {
		return NetConf{}, errors.Join(wrong...)
	}
	top, ok := wrong.open("", raw)
	if !ok {
		return NetConf{}, errors.Join(wrong...)
	}
	top.expect(netConfKeys, func(name string) string {
		if i := indexFold(vxlanKeys, name); i >= 0 {
			return "; did you mean Backend." + vxlanKeys[i] + "?"
		}
		return ""
	})
	c := NetConf{Pools: top.pools(), Firewall: top.firewall(), Backend: top.backend()}
	if c.Pools.V6.Enabled() && c.Backend.MTU != 0 && c.Backend.MTU < leastMTUv6 {
		wrong.add("Backend.MTU", fmt.Append(nil, c.Backend.MTU), fmt.Sprintf(
			"want %d or more: IPv6 pods need 1280, and their tunnel takes 70", leastMTUv6))
	}
	if wrong != nil {
		return NetConf{}, errors.Join(wrong...)
	}
	return c, nil
}

func (o object) firewall() Firewall {
	nft := o.toggle("EnableNFTables", false)
	switch f := Firewall(strings.ToLower(o.text("Firewall"))); f {
	case FirewallIptables:
		if nft {
			o.reject("Firewall", `want "nftables" with "EnableNFTables": true, or one of the two keys alone`)
		}
		return f
	case FirewallNFTables:
		return f
	case FirewallAuto:
	default:
		o.reject("Firewall", `want "nftables" or "iptables", or no such key to have it chosen`)
	}
	if nft {
		return FirewallNFTables
	}
	return FirewallAuto
}

func (o object) pools() subnet.Pools {
	v4, v6 := o.toggle("EnableIPv4", true), o.toggle("EnableIPv6", false)
	if !v4 && !v6 {
		o.add("EnableIPv4", nil, `want it or "EnableIPv6" true: both families are off`)
	}
	return subnet.Pools{V4: o.pool(ipv4, v4), V6: o.pool(ipv6, v6)}
}
