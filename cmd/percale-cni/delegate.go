// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/containernetworking/cni/pkg/types"
)

// A delegate is the key "delegate", which in flannel's plugin configures the
// plugin that it calls. Only what the bridge plugin knows has a meaning.
type delegate struct {
	Type             string    `json:"type"`
	Bridge           string    `json:"bridge"`
	MTU              int       `json:"mtu"`
	IPMasq           *bool     `json:"ipMasq"`
	IsGateway        *bool     `json:"isGateway"`
	IsDefaultGateway bool      `json:"isDefaultGateway"`
	HairpinMode      bool      `json:"hairpinMode"`
	PromiscMode      bool      `json:"promiscMode"`
	ForceAddress     bool      `json:"forceAddress"`
	DNS              types.DNS `json:"dns"`
}

func parseDelegate(raw json.RawMessage) (settings, error) {
	if err := checkKeys("delegate.", raw, delegateKey); err != nil {
		return settings{}, err
	}
	var d delegate
	if err := decode("delegate.", raw, &d); err != nil {
		return settings{}, err
	}
	if d.Bridge == "" {
		d.Bridge = "cni0"
	}
	if err := d.check(); err != nil {
		return settings{}, err
	}
	return settings{
		bridge: d.Bridge, mtu: d.MTU, ipMasq: d.IPMasq,
		gateway:      d.IsGateway == nil || *d.IsGateway || d.IsDefaultGateway,
		defaultRoute: d.IsDefaultGateway,
		hairpin:      d.HairpinMode, promisc: d.PromiscMode, force: d.ForceAddress, dns: d.DNS,
	}, nil
}

func (d delegate) check() error {
	switch {
	case d.Type != "" && d.Type != "bridge":
		return codef(types.ErrUnsupportedField, "network configuration: delegate.type is %q: percale-cni wires pods itself, with a bridge: remove the key, or run that plugin instead of this one", d.Type)
	case !isLinkName(d.Bridge):
		return codef(types.ErrInvalidNetworkConfig, "network configuration: delegate.bridge %.60q: want 1 to 15 bytes without / : or space", d.Bridge)
	case d.MTU != 0 && (d.MTU < 68 || d.MTU > 65535):
		return codef(types.ErrInvalidNetworkConfig, "network configuration: delegate.mtu %d: want 68 to 65535 bytes, or 0 for that of the subnet file", d.MTU)
	case d.HairpinMode && d.PromiscMode:
		return codef(types.ErrInvalidNetworkConfig, "network configuration: delegate.hairpinMode and delegate.promiscMode exclude each other: a pod would get its own packets twice: remove one")
	}
	return nil
}

// isLinkName tells whether the kernel and its files take s as a link's name.
func isLinkName(s string) bool {
	bad := func(r rune) bool { return r == '/' || r == ':' || !unicode.IsPrint(r) || unicode.IsSpace(r) }
	return s != "" && len(s) <= 15 && s != "." && s != ".." && !strings.ContainsFunc(s, bad)
}

// delegateKey returns why a key of "delegate" cannot be as it is, or "".
func delegateKey(key string, value json.RawMessage) (why string) {
	switch key {
	case "type", "bridge", "mtu", "ipmasq", "isgateway", "isdefaultgateway", "hairpinmode", "promiscmode", "forceaddress", "dns",
		"cniversion", "preservedefaultvlan": // without a meaning here
		return ""
	case "name":
		return "the network has the name beside delegate: remove this one"
	case "ipam":
		return `put it beside delegate, as "ipam"`
	case "ipmasqbackend":
		if string(value) == `"nftables"` {
			return ""
		}
		return "percale-cni masquerades by nftables: remove the key"
	case "vlan", "vlantrunk", "macspoofchk", "enabledad", "disablecontainerinterface", "portisolation", "args", "runtimeconfig", "capabilities":
		if isNothing(value) {
			return ""
		}
		return "percale-cni does not have this feature of the bridge plugin: remove the key, or run that plugin instead of this one"
	}
	return unknownKey(key, "type", "bridge", "mtu", "ipMasq", "isGateway", "isDefaultGateway", "hairpinMode", "promiscMode", "forceAddress", "dns")
}

// ipamKey returns why a key of "ipam" cannot be as it is, or "".
func ipamKey(key string, value json.RawMessage) (why string) {
	switch key {
	case "type", "datadir", "routes", "ranges", "reserved":
		return ""
	case "subnet", "rangestart", "rangeend", "gateway", "resolvconf", "args":
		if isNothing(value) {
			return ""
		}
		return "percale-cni takes addresses from the subnet file alone: remove the key, or bound them by ipam.ranges"
	}
	return unknownKey(key, "dataDir", "routes", "ranges", "reserved")
}

// isNothing tells whether a JSON value says that a feature is off.
func isNothing(v json.RawMessage) bool {
	return slices.Contains([]string{"null", "false", "0", `""`, "[]", "{}"}, string(v))
}
