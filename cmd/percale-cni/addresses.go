// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/subnet/ipam"
)

// A span is one of the ranges of the key "ipam", as host-local has them.
type span struct {
	Subnet     string `json:"subnet"`
	RangeStart string `json:"rangeStart"`
	RangeEnd   string `json:"rangeEnd"`
	Gateway    string `json:"gateway"`
}

// parseSpans reads ipam.ranges, which bounds what pods get of the node's
// subnets, and ipam.reserved.
func parseSpans(ranges [][]span, reserved []string) (within, kept []ipam.Span, err error) {
	for i, set := range ranges {
		for k, r := range set {
			s, err := r.parse()
			if err != nil {
				return nil, nil, codef(types.ErrInvalidNetworkConfig, "network configuration: ipam.ranges[%d][%d]: %w", i, k, err)
			}
			within = append(within, s)
		}
	}
	for i, r := range reserved {
		s, err := ipam.ParseSpan(r)
		if err != nil {
			return nil, nil, codef(types.ErrInvalidNetworkConfig, "network configuration: ipam.reserved[%d]: %w", i, err)
		}
		kept = append(kept, s)
	}
	return within, kept, nil
}

func (r span) parse() (ipam.Span, error) {
	if r.Gateway != "" {
		return ipam.Span{}, fmt.Errorf("gateway %.60q: it is the first address of the node's subnet: remove the key", r.Gateway)
	}
	p, err := netip.ParsePrefix(r.Subnet)
	if err != nil {
		return ipam.Span{}, fmt.Errorf("subnet %.60q: want a prefix such as 192.0.2.0/24", r.Subnet)
	}
	whole := ipam.SpanOf(p)
	text := [2]string{whole.First.String(), whole.Last.String()}
	for i, bound := range []string{r.RangeStart, r.RangeEnd} {
		if bound != "" {
			text[i] = bound
		}
	}
	s, err := ipam.ParseSpan(text[0] + "-" + text[1])
	if err != nil {
		return ipam.Span{}, fmt.Errorf("rangeStart %.60q, rangeEnd %.60q: want two addresses, the lower one first", r.RangeStart, r.RangeEnd)
	}
	if !whole.Contains(s.First) || !whole.Contains(s.Last) {
		return ipam.Span{}, fmt.Errorf("%s: is not inside its subnet %s", s, p)
	}
	return s, nil
}

// wanted returns the addresses that a pod asks for, and where it does so: of
// several places the first one counts, as CNI's conventions have it.
func wanted(runtime []string, args json.RawMessage, cniArgs string) ([]netip.Addr, string, error) {
	if len(runtime) > 0 {
		return parseWanted("runtimeConfig.ips", runtime)
	}
	var a struct {
		CNI struct {
			IPs []string `json:"ips"`
		} `json:"cni"`
	}
	if err := decode("args.", args, &a); err != nil {
		return nil, "", err
	}
	if len(a.CNI.IPs) > 0 {
		return parseWanted("args.cni.ips", a.CNI.IPs)
	}
	var ips []string
	for pair := range strings.SplitSeq(cniArgs, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok && key == "IP" && value != "" {
			ips = append(ips, strings.Split(value, ",")...)
		}
	}
	if len(ips) == 0 {
		return nil, "", nil
	}
	return parseWanted("CNI_ARGS", ips)
}

// cniArg returns what CNI_ARGS has for a key, "" for nothing.
func cniArg(cniArgs, key string) string {
	for pair := range strings.SplitSeq(cniArgs, ";") {
		if k, value, ok := strings.Cut(pair, "="); ok && k == key {
			return value
		}
	}
	return ""
}

func parseWanted(where string, ips []string) ([]netip.Addr, string, error) {
	var addrs []netip.Addr
	for _, s := range ips {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if p, bad := netip.ParsePrefix(strings.TrimSpace(s)); bad == nil {
			a, err = p.Addr(), nil
		}
		if err != nil || a.Is4In6() || a.Zone() != "" {
			return nil, "", codef(types.ErrInvalidNetworkConfig, "%s: %.60q: want an address such as 192.0.2.7 or 192.0.2.7/24", where, s)
		}
		for _, other := range addrs {
			if other.Is4() == a.Is4() {
				return nil, "", codef(types.ErrInvalidNetworkConfig, "%s: %s and %s: want at most one address of each family", where, other, a)
			}
		}
		addrs = append(addrs, a)
	}
	return addrs, where, nil
}

// checkWanted fails where an address that the pod asks for is none of a pod on
// this node.
func checkWanted(s settings, ranges []ipam.Range) error {
	for _, a := range s.wanted {
		ok := false
		var can []string
		for _, r := range ranges {
			ok = ok || r.CanHave(a)
			can = append(can, r.Subnet.String())
		}
		if !ok {
			return fmt.Errorf("%s asks for %s, which no pod on this node can have: want one of %s, not its first two or its last, or leave it out",
				s.wantedBy, a, strings.Join(can, " or "))
		}
	}
	return nil
}
