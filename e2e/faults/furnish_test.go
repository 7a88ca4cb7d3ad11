// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"regexp"
	"strings"
	"testing"

	nft "github.com/google/nftables"

	"github.com/percale-net/percale/internal/lab"
)

// furnish puts things of others onto a node, near to what ours are like.
func furnish(t *testing.T, n *lab.Node) {
	t.Helper()
	batch(t, n.NS(), "",
		"link add flannel.99 type vxlan id 99 dstport 9999 local 192.168.77.11", "link set flannel.99 up",
		"link add br-other type bridge", "address add 10.99.0.1/24 dev br-other", "link set br-other up",
		"route add 172.30.0.0/16 via 192.168.77.1 proto 112 metric 7", // our mark, another network
		"route add 10.244.0.128/25 via 192.168.77.1",                  // our network, no mark
		"route add blackhole 10.99.0.0/16 proto 112",
		"neigh add 172.30.0.9 lladdr 02:00:00:00:00:09 dev flannel.99 nud permanent",
	)
	run(t, n.NS(), "bridge fdb add 02:00:00:00:00:09 dst 192.168.77.250 dev flannel.99")
	for _, args := range []string{"-N OTHER", "-A OTHER -s 10.99.0.0/16 -j ACCEPT", "-A FORWARD -j OTHER", "-P FORWARD DROP", "-t nat -N PERCALEISH", "-t nat -A PERCALEISH -j RETURN"} {
		run(t, n.NS(), "iptables "+args)
		run(t, n.NS(), "ip6tables "+strings.ReplaceAll(args, "10.99.0.0/16", "fd99::/64"))
	}
	err := withNFT(n.NS(), func(c *nft.Conn) error {
		table := c.AddTable(&nft.Table{Family: nft.TableFamilyINet, Name: "percale-other"})
		c.AddChain(&nft.Chain{Name: "forward", Table: table, Type: nft.ChainTypeFilter, Hooknum: nft.ChainHookForward, Priority: nft.ChainPriorityFilter})
		return c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// still returns a node's state once two looks agree.
func still(t *testing.T, n *lab.Node) state {
	t.Helper()
	var s state
	err := eventually(t, limit, func() error {
		was := s
		s = stateOf(t, n)
		if tentative := lacks(s, regexp.MustCompile(`\b(tentative|linkdown)\b`)); tentative != nil && !strings.Contains(tentative.Error(), "br-other") {
			return tentative
		}
		return same(was, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
