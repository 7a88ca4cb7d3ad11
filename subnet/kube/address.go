// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/netip"
	"strings"
)

const (
	maxAddr   = 45 // bytes of an address as text
	maxPrefix = 49 // and of a prefix
)

// parseAddr reads an address of so many bits; the zero Addr where there is none
// or 0.0.0.0, which flannel writes then.
func parseAddr(text string, bits int) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.BitLen() != bits || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%.64q is no address; an IPv%d address would be right", text, 4+2*(bits/128))
	}
	if a.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return a, nil
}

// parseSubnets reads a list of subnets, at most one of each family.
func parseSubnets(list string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for text := range strings.SplitSeq(list, ",") {
		s, err := netip.ParsePrefix(text)
		if err != nil || s.Addr().Is4In6() || s != s.Masked() {
			return nil, fmt.Errorf("%.64q is no subnet; one such as 10.244.7.0/24 would be right", text)
		}
		for _, other := range all {
			if other.Addr().BitLen() == s.Addr().BitLen() {
				return nil, fmt.Errorf("%s and %s are of one family; one of them would be right", other, s)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

func joinSubnets(all []netip.Prefix) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.String()
	}
	return strings.Join(texts, ",")
}

// podCIDRs returns what the cluster assigned, the first of each family. The API
// server has checked the texts; what is none all the same is left out.
func podCIDRs(texts []string) []netip.Prefix {
	var all []netip.Prefix
	var have [2]bool
	for _, text := range texts {
		s, err := netip.ParsePrefix(text)
		if err != nil || s.Addr().Is4In6() {
			continue
		}
		if v6 := s.Addr().BitLen() / 128; !have[v6] {
			have[v6] = true
			all = append(all, s.Masked())
		}
	}
	return all
}
