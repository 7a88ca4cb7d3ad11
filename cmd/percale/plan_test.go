// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/config"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, args := range []string{"link add up0 type bridge", "link set up0 up", "addr add 192.0.2.1/24 dev up0", "route add 10.42.0.0/20 via 192.0.2.9"} {
		if out, err := n.Output("ip", strings.Fields(args)...); err != nil {
			t.Fatal(err, out)
		}
	}
	for _, c := range []struct {
		name, args string
		code       error
	}{
		{"plan-proposed", "--nodes 200 --pods 110", nil},
		{"plan-dual", "--nodes 20 --family dual", nil},
		{"plan-ipv6", "--nodes 3 --ipv6-network fd00:42::/56", nil},
		{"plan-tight", "--nodes 200 --network 10.99.0.0/16", nil},
		{"plan-overlap", "--nodes 3 --network 10.42.0.0/16", errProblem},
		{"plan-small", "--nodes 600 --pods 1100 --network 10.244.0.0/16", errProblem},
		{"plan-refused", "--nodes 3 --network 127.0.0.0/16", errProblem},
		{"plan-json", "--nodes 300 -o json --network 10.244.0.0/16", nil},
	} {
		text, err := n.run(t, "plan "+c.args)
		if (err == nil) != (c.code == nil) {
			t.Errorf("percale plan %s: %v; want %v", c.args, err, c.code)
		}
		golden(t, c.name, text)
	}
}

func TestPlanRefusesBadFlags(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for args, want := range map[string]string{
		"":                                   "want --nodes and --pods of 1 and more",
		"--nodes 3 --pods 0":                 "want --nodes and --pods of 1 and more",
		"--nodes 3 --network fd00::/48":      `--network "fd00::/48": want a network such as 10.42.0.0/16`,
		"--nodes 3 --network 0.0.0.0/0":      "want a network such as",
		"--nodes 3 --network ten":            "want a network such as",
		"--nodes 3 --ipv6-network 10.0.0./8": "want a network such as fd00:42::/48",
		"--nodes 3 --family ipv5":            "want ipv4, ipv6 or dual",
		"--nodes 3 --family ipv6 --network 10.42.0.0/16": "want --family dual",
		"--nodes -3": "invalid argument",
	} {
		if _, err := n.run(t, "plan "+args); err == nil || errors.Is(err, errProblem) || !strings.Contains(err.Error(), want) {
			t.Errorf("percale plan %s: %v; want %q", args, err, want)
		}
	}
}

// What is proposed is what percaled takes.
func TestPlanIsAValidNetConf(t *testing.T) {
	t.Parallel()
	for _, f := range []planFlags{
		{nodes: 1, pods: 1, family: "ipv4"}, {nodes: 5000, pods: 250, headroom: 30, family: "dual"},
		{nodes: 50, pods: 110, headroom: 1000, family: "ipv6"}, {nodes: 15000, pods: 110, headroom: 30, family: "ipv4"},
	} {
		p := f.plan(nil)
		c, err := config.ParseNetConf(p.NetConf)
		if err != nil || len(p.Problems) > 0 {
			t.Errorf("%+v: %v, %v", f, err, p.Problems)
			continue
		}
		for _, n := range p.Networks {
			pool := c.Pools.V4
			if n.Network.Addr().Is6() {
				pool = c.Pools.V6
			}
			if pool.Network != n.Network || pool.Len != n.SubnetLen || pool.Size() != n.NodesHeld {
				t.Errorf("%+v: the agent takes %+v with %d subnets; want %+v", f, pool, pool.Size(), n)
			}
		}
	}
}
