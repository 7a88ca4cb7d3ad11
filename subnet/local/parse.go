// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ParseEnv reads the content of a subnet.env. Lines that it does not know are
// ignored, values may be quoted, and a repeated key counts as it stands last,
// as the readers of such files have it. All else that is wrong is told with
// its line and what would be right.
func ParseEnv(b []byte) (Env, error) {
	if len(b) > maxEnv {
		return Env{}, fmt.Errorf("more than %d KiB", maxEnv>>10)
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return Env{}, errors.New("holds a zero byte: not a text of lines KEY=value")
	}
	var e Env
	seen := map[string]bool{}
	for n, line := range strings.Split(string(b), "\n") {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		key = strings.TrimSpace(key)
		known, err := e.set(key, unquote(strings.TrimSpace(value)))
		switch {
		case !known:
			continue
		case !found:
			return Env{}, fmt.Errorf("line %d: %s has no value: want %s=…", n+1, key, key)
		case err != nil:
			return Env{}, fmt.Errorf("line %d: %s: %w", n+1, key, err)
		}
		seen[key] = true
	}
	var missing []string
	for _, either := range [][]string{
		{"FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"},
		{"FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"},
		{"FLANNEL_MTU"},
		{"FLANNEL_IPMASQ"},
	} {
		if !slices.ContainsFunc(either, func(key string) bool { return seen[key] }) {
			missing = append(missing, strings.Join(either, " or "))
		}
	}
	if missing != nil {
		return Env{}, fmt.Errorf("is missing %s", strings.Join(missing, ", "))
	}
	return e, nil
}

// set takes one line of the file into e, and reports whether it knows the key.
func (e *Env) set(key, v string) (known bool, err error) {
	switch key {
	case "FLANNEL_NETWORK":
		e.Networks, err = parseNetworks(v, netip.Addr.Is4)
	case "FLANNEL_SUBNET":
		e.Subnet, err = parseSubnet(v, netip.Addr.Is4)
	case "FLANNEL_IPV6_NETWORK":
		e.IPv6Networks, err = parseNetworks(v, netip.Addr.Is6)
	case "FLANNEL_IPV6_SUBNET":
		e.IPv6Subnet, err = parseSubnet(v, netip.Addr.Is6)
	case "FLANNEL_MTU":
		n, badNumber := strconv.ParseUint(v, 10, 16)
		if badNumber != nil || n < 68 { // RFC 791: every link takes 68 bytes
			err = fmt.Errorf("%.40q: want a number of bytes from 68 to 65535", v)
		}
		e.MTU = int(n)
	case "FLANNEL_IPMASQ":
		if v != "true" && v != "false" {
			err = fmt.Errorf("%.40q: want true or false", v)
		}
		e.IPMasq = v == "true"
	default:
		return false, nil
	}
	return true, err
}

// parseNetworks reads a comma list of prefixes of one family, masks them and
// drops repetitions.
func parseNetworks(list string, family func(netip.Addr) bool) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for item := range strings.SplitSeq(list, ",") {
		p, err := parseSubnet(strings.TrimSpace(item), family)
		if err != nil {
			return nil, err
		}
		if p = p.Masked(); !slices.Contains(networks, p) {
			networks = append(networks, p)
		}
	}
	return networks, nil
}

func parseSubnet(s string, family func(netip.Addr) bool) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%.60q: want a prefix such as 10.244.3.1/24 or fd00::1/64", s)
	case p.Addr().Is4In6() || !family(p.Addr()):
		return netip.Prefix{}, fmt.Errorf("%s: of the wrong address family", p)
	}
	return p, nil
}

// unquote takes off one pair of quotes, as shells and dotenv readers do.
func unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}
