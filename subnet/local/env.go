// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxEnv bounds subnet.env, in bytes. A real one has some 200.
const maxEnv = 64 << 10

// An Env is the content of subnet.env, by which the agent tells CNI plugins
// and scripts what this node's pods get. The names in the file are flannel's.
type Env struct {
	Networks     []netip.Prefix // the cluster's IPv4 pod networks, masked
	Subnet       netip.Prefix   // the node's gateway address, and its subnet's length
	IPv6Networks []netip.Prefix
	IPv6Subnet   netip.Prefix
	MTU          int  // of pods, in bytes
	IPMasq       bool // the agent masquerades, so no plugin need do so
}

// Subnets returns the node's subnets, masked, IPv4 first.
func (e Env) Subnets() []netip.Prefix {
	var s []netip.Prefix
	for _, p := range []netip.Prefix{e.Subnet, e.IPv6Subnet} {
		if p.IsValid() {
			s = append(s, p.Masked())
		}
	}
	return s
}

// Bytes returns the file for e. A family without network or subnet is left out.
func (e Env) Bytes() []byte {
	var b bytes.Buffer
	line := func(key, value string) { b.WriteString(key + "=" + value + "\n") }
	family := func(v6 string, networks []netip.Prefix, subnet netip.Prefix) {
		if len(networks) > 0 {
			line("FLANNEL_"+v6+"NETWORK", join(networks))
		}
		if subnet.IsValid() {
			line("FLANNEL_"+v6+"SUBNET", subnet.String())
		}
	}
	family("", e.Networks, e.Subnet)
	family("IPV6_", e.IPv6Networks, e.IPv6Subnet)
	line("FLANNEL_MTU", strconv.Itoa(e.MTU))
	line("FLANNEL_IPMASQ", strconv.FormatBool(e.IPMasq))
	return b.Bytes()
}

func join(prefixes []netip.Prefix) string {
	s := make([]string, len(prefixes))
	for i, p := range prefixes {
		s[i] = p.String()
	}
	return strings.Join(s, ",")
}

// WriteEnv makes path hold e, in one step, and writes nothing when it does so
// already.
func WriteEnv(path string, e Env) error { return writeFile(path, e.Bytes()) }

// ReadEnv reads path. An absent file is fs.ErrNotExist; why it is absent may
// stand in a Waiting.
func ReadEnv(path string) (Env, error) {
	b, err := readFile(path, maxEnv)
	if err != nil {
		return Env{}, fmt.Errorf("read subnet file: %w", err)
	}
	e, err := ParseEnv(b)
	if err != nil {
		return Env{}, fmt.Errorf("read subnet file: %s: %w", path, err)
	}
	return e, nil
}
