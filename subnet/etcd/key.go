// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/percale-net/percale/subnet"
)

// A place is what a key stands for: the subnets of a lease. No two keys stand
// for one place.
type place struct{ v4, v6 netip.Prefix }

func placeOf(l subnet.Lease) place { return place{l.V4.Subnet, l.V6.Subnet} }

// compare orders places as a snapshot orders leases.
func (p place) compare(q place) int {
	if n := p.v4.Compare(q.v4); n != 0 {
		return n
	}
	return p.v6.Compare(q.v6)
}

func (p place) overlaps(q place) bool {
	return p.v4.IsValid() && q.v4.IsValid() && p.v4.Overlaps(q.v4) ||
		p.v6.IsValid() && q.v6.IsValid() && p.v6.Overlaps(q.v6)
}

// absentV4 stands for the IPv4 subnet in the key of a lease without one.
const absentV4 = "0.0.0.0-0"

// key returns the text of the key below <prefix>/subnets/: 10.3.17.0-24,
// 10.3.17.0-24&fc00:0:0:23::-64 or 0.0.0.0-0&fc00:0:0:23::-64.
func (p place) key() string {
	v4 := absentV4
	if p.v4.IsValid() {
		v4 = dashed(p.v4)
	}
	if !p.v6.IsValid() {
		return v4
	}
	return v4 + "&" + dashed(p.v6)
}

// LeaseKey returns the etcd key of a lease below a prefix.
func LeaseKey(prefix string, l subnet.Lease) string { return prefix + "/subnets/" + placeOf(l).key() }

// base returns what the keys of all leases begin with that have the same first
// address: two nodes with different subnet lengths must not both take it.
func (p place) base() string {
	if p.v4.IsValid() {
		return p.v4.Addr().String() + "-"
	}
	return absentV4 + "&" + p.v6.Addr().String() + "-"
}

func dashed(p netip.Prefix) string { return p.Addr().String() + "-" + strconv.Itoa(p.Bits()) }

// parseKey reads the text of a key below <prefix>/subnets/. It takes only the
// form that key writes.
func parseKey(text string) (place, error) {
	if len(text) > 80 { // the longest key has 62 bytes
		return place{}, fmt.Errorf("key of %d bytes; one like 10.3.17.0-24 would be right", len(text))
	}
	text4, text6, dual := strings.Cut(text, "&")
	var p place
	var err error
	if text4 != absentV4 || !dual {
		if p.v4, err = parseDashed(text4, 4); err != nil {
			return place{}, err
		}
	}
	if dual {
		if p.v6, err = parseDashed(text6, 16); err != nil {
			return place{}, err
		}
	}
	if want := p.key(); want != text {
		return place{}, fmt.Errorf("key %q is not in its usual form; %q would be right", text, want)
	}
	return p, nil
}

// parseDashed reads a subnet of addresses of so many bytes.
func parseDashed(text string, bytes int) (netip.Prefix, error) {
	i := strings.LastIndexByte(text, '-')
	if i < 0 {
		return netip.Prefix{}, fmt.Errorf("%q is no subnet; one like 10.3.17.0-24 would be right", text)
	}
	addr, err := netip.ParseAddr(text[:i])
	if err != nil || addr.BitLen() != 8*bytes || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no IPv%d subnet", text, 4+2*(bytes/16))
	}
	length, err := strconv.Atoi(text[i+1:])
	if err != nil || length < 1 || length >= addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("%q has the subnet length %q; 1 to %d would be right", text, text[i+1:], addr.BitLen()-1)
	}
	p := netip.PrefixFrom(addr, length)
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("subnet %q has host bits set; %q would be right", text, dashed(p.Masked()))
	}
	return p, nil
}
