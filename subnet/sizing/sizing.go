// SPDX-License-Identifier: Apache-2.0

// Package sizing says which pod network and which subnets a cluster needs.
package sizing

import (
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/percale-net/percale/subnet/ipam"
)

// A Wish is what a cluster is to hold.
type Wish struct {
	Nodes    uint64
	Pods     uint64 // of one node
	Headroom uint64 // percent that both may grow by
}

// WithHeadroom returns the wish after it has grown, without headroom. Numbers
// beyond all networks stay so.
func (w Wish) WithHeadroom() Wish {
	return Wish{Nodes: grow(w.Nodes, w.Headroom), Pods: grow(w.Pods, w.Headroom)}
}

func grow(n, percent uint64) uint64 {
	hi, lo := bits.Mul64(n, 100+percent)
	if hi >= 100 {
		return math.MaxUint64
	}
	q, rest := bits.Div64(hi, lo, 100)
	if rest > 0 {
		q++
	}
	return q
}

// A Plan is a pod network that is cut into subnets of one length, one for each
// node.
type Plan struct {
	Network netip.Prefix
	Len     int
}

// The lengths that flannel has, and ours: what fits into these need not be other.
const (
	usualSubnet4, usualSubnet6   = 24, 64
	usualNetwork4, usualNetwork6 = 16, 48
)

// Nodes returns how many nodes the plan is for: the first subnet is not leased
// by default. math.MaxUint64 stands for that many and more.
func (p Plan) Nodes() uint64 { return subnets(p.Network.Bits(), p.Len) }

func subnets(network, subnet int) uint64 {
	switch n := subnet - network; {
	case n <= 0:
		return 0
	case n >= 64:
		return math.MaxUint64
	default:
		return 1<<n - 1
	}
}

// Pods returns how many addresses each node has for pods.
func (p Plan) Pods() uint64 { return pods(p.Network.Addr(), p.Len) }

func pods(a netip.Addr, subnet int) uint64 {
	r, err := ipam.NewRange(netip.PrefixFrom(a, subnet))
	if err != nil {
		return 0
	}
	return r.Size()
}

// Fits reports whether the plan holds w, without its headroom.
func (p Plan) Fits(w Wish) bool { return p.Nodes() >= w.Nodes && p.Pods() >= w.Pods }

// In cuts a given network. With subnets of the usual length or, where these do
// not hold w and its headroom, with the smallest that do; where none do, the
// same without headroom. A network that holds not even that is cut so that as
// many nodes as can be have the pods; Fits tells.
func (w Wish) In(network netip.Prefix) Plan {
	network = network.Masked()
	least := network.Bits() + 2 // which the configuration wants
	usual := usualSubnet4
	if network.Addr().Is6() {
		usual = usualSubnet6
	}
	var p Plan
	for _, want := range []Wish{w.WithHeadroom(), w} {
		for _, l := range []int{usual, smallest(network.Addr(), want.Pods)} {
			if p = (Plan{network, l}); l >= least && p.Fits(want) {
				return p
			}
		}
	}
	p.Len = max(p.Len, least)
	return p
}

// smallest returns the length of the smallest subnet that holds n pods, 0 if
// none does.
func smallest(a netip.Addr, n uint64) int {
	for l := a.BitLen() - 2; l > 0; l-- {
		if pods(a, l) >= n {
			return l
		}
	}
	return 0
}

// Where networks are proposed, in this order: space for private use (RFC 1918,
// RFC 6598, RFC 4193), flannel's usual network first.
var (
	blocks4 = []block{
		{"10.244.0.0", "10.0.0.0/8"}, {"172.16.0.0", "172.16.0.0/12"}, {"100.64.0.0", "100.64.0.0/10"}, {"10.0.0.0", "10.0.0.0/8"},
	}
	blocks6 = []block{{"fd00:10:244::", "fd00::/8"}, {"fd00:10:64::", "fd00::/8"}, {"fd64:6::", "fd00::/8"}}
)

type block struct{ at, within string }

// Services is what kubeadm takes for services unless told otherwise. Pods must
// have another network.
var Services = netip.MustParsePrefix("10.96.0.0/12")

// Propose returns a plan that holds w and its headroom in a network that
// overlaps none of taken. It is not ok if there is none in private space.
func (w Wish) Propose(ipv6 bool, taken []netip.Prefix) (Plan, bool) {
	want := w.WithHeadroom()
	blocks, p, network := blocks4, Plan{Len: usualSubnet4}, usualNetwork4
	if ipv6 {
		blocks, p, network = blocks6, Plan{Len: usualSubnet6}, usualNetwork6
	}
	p.Len = min(p.Len, smallest(netip.MustParseAddr(blocks[0].at), want.Pods))
	network = min(network, p.Len-2)
	for network > 0 && subnets(network, p.Len) < want.Nodes {
		network--
	}
	for _, b := range blocks {
		within := netip.MustParsePrefix(b.within)
		if network < within.Bits() || p.Len <= 0 {
			continue
		}
		p.Network = netip.PrefixFrom(netip.MustParseAddr(b.at), network).Masked()
		if !p.Network.Overlaps(Services) && len(Overlaps(p.Network, taken)) == 0 {
			return p, true
		}
	}
	return Plan{}, false
}

// Overlaps returns those of taken that overlap a network, but for those that
// hold everything: a default route takes nothing.
func Overlaps(network netip.Prefix, taken []netip.Prefix) []netip.Prefix {
	var all []netip.Prefix
	for _, t := range taken {
		if t.Bits() > 0 && t.Overlaps(network) && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}
