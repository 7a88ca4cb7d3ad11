// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet/local"
	"github.com/percale-net/percale/subnet/sizing"
)

// mostPods is how many ports the kernel gives a bridge, one for each pod.
const mostPods = 1023

// planFlags are what is to be planned.
type planFlags struct {
	nodes, pods, headroom uint32
	family                string
	network, network6     string
}

// A planned is what plan answers. Its JSON form is stable.
type planned struct {
	Nodes            uint64          `json:"nodes"`
	Pods             uint64          `json:"pods"` // of one node
	Headroom         uint64          `json:"headroomPercent"`
	NodesWithRoom    uint64          `json:"nodesWithHeadroom"`
	PodsWithRoom     uint64          `json:"podsWithHeadroom"`
	Networks         []plannedFamily `json:"networks"`
	Problems         []string        `json:"problems"` // empty: it fits
	Notes            []string        `json:"notes"`
	NetConf          json.RawMessage `json:"netConf"`
	routesOfThisNode bool
}

type plannedFamily struct {
	Network     netip.Prefix `json:"network"`
	SubnetLen   int          `json:"subnetLen"`
	NodesHeld   uint64       `json:"nodesHeld"`
	PodsPerNode uint64       `json:"podsPerNode"`
}

func planCommand(c *client) *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan --nodes N",
		Short: "Which pod network and subnets a cluster needs",
		Long: "Which pod network and subnets a cluster needs, and whether a given network will do. Nothing is changed.\n" +
			"On a node, routes of that node that the network would cover are told.\n" +
			"Exit status: 0 it fits, 1 it does not, 2 bad usage.",
		Example: "  percale plan --nodes 200 --pods 110\n  percale plan --nodes 200 --network 10.42.0.0/16\n  percale plan --nodes 20 --family dual",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			taken, err := takenHere(cmd.Context())
			p := f.plan(taken)
			if p.routesOfThisNode = err == nil; err != nil {
				p.Notes = append(p.Notes, "routes of this node are not compared: "+err.Error())
			}
			if err := c.show(cmd.OutOrStdout(), p, func(w io.Writer) { printPlan(w, p) }); err != nil {
				return err
			}
			if len(p.Problems) > 0 {
				return errProblem
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.Uint32Var(&f.nodes, "nodes", 0, "nodes of the cluster")
	flags.Uint32Var(&f.pods, "pods", 110, "pods of one node at most, the kubelet's maxPods")
	flags.Uint32Var(&f.headroom, "headroom", 30, "percent that both may grow by")
	flags.StringVar(&f.family, "family", "", "ipv4, ipv6 or dual (default: of the networks given, or ipv4)")
	flags.StringVar(&f.network, "network", "", "IPv4 network to judge, such as 10.42.0.0/16 (default: one is proposed)")
	flags.StringVar(&f.network6, "ipv6-network", "", "IPv6 network to judge, such as fd00:42::/48")
	return cmd
}

func (f *planFlags) check() error {
	if f.nodes == 0 || f.pods == 0 {
		return errors.New("want --nodes and --pods of 1 and more, such as percale plan --nodes 200 --pods 110")
	}
	for _, n := range []struct {
		flag, text, example string
		v4                  bool
	}{{"network", f.network, "10.42.0.0/16", true}, {"ipv6-network", f.network6, "fd00:42::/48", false}} {
		p, err := netip.ParsePrefix(n.text)
		if n.text != "" && (err != nil || p.Addr().Is4() != n.v4 || p.Addr().Is4In6() || p.Bits() == 0) {
			return fmt.Errorf("--%s %.60q: want a network such as %s", n.flag, n.text, n.example)
		}
	}
	switch f.family {
	case "":
		f.family = "ipv4"
		if f.network6 != "" {
			f.family = "ipv6"
			if f.network != "" {
				f.family = "dual"
			}
		}
	case "ipv4", "ipv6", "dual":
	default:
		return fmt.Errorf("--family %.20q: want ipv4, ipv6 or dual", f.family)
	}
	if f.family == "ipv4" && f.network6 != "" || f.family == "ipv6" && f.network != "" {
		return fmt.Errorf("--family %s: a network of the other family is given: want --family dual", f.family)
	}
	return nil
}

// takenHere returns the destinations that this node has routes to, without
// those that its own pods have made.
func takenHere(ctx context.Context) ([]netip.Prefix, error) {
	host, err := kernel.Open("")
	if err != nil {
		return nil, err
	}
	defer host.Close()
	routes, err := host.OtherRoutes(ctx)
	if err != nil {
		return nil, err
	}
	env, _ := local.ReadEnv(usualEnv) // none: no node of a cluster yet
	var taken []netip.Prefix
	for _, r := range routes {
		ours := false
		for _, s := range env.Subnets() {
			ours = ours || s.Overlaps(r.Dst) && s.Bits() <= r.Dst.Bits()
		}
		if !ours {
			taken = append(taken, r.Dst)
		}
	}
	return taken, nil
}

// plan judges or proposes a network of each family.
func (f *planFlags) plan(taken []netip.Prefix) planned {
	w := sizing.Wish{Nodes: uint64(f.nodes), Pods: uint64(f.pods), Headroom: uint64(f.headroom)}
	want := w.WithHeadroom()
	p := planned{
		Nodes: w.Nodes, Pods: w.Pods, Headroom: w.Headroom, NodesWithRoom: want.Nodes, PodsWithRoom: want.Pods,
		Networks: []plannedFamily{}, Problems: []string{}, Notes: []string{},
	}
	if w.Pods > mostPods {
		p.problem("%d pods of one node: the kernel gives a bridge %d ports, and each pod takes one", w.Pods, mostPods)
	}
	if f.family != "ipv6" {
		p.family(w, f.network, false, taken)
	}
	if f.family != "ipv4" {
		p.family(w, f.network6, true, taken)
	}
	p.NetConf = p.netConf()
	if len(p.Networks) > 0 && len(p.Problems) == 0 {
		if _, err := config.ParseNetConf(p.NetConf); err != nil {
			p.problem("percaled would refuse it: %v", err)
		}
	}
	return p
}

func (p *planned) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

func (p *planned) family(w sizing.Wish, given string, ipv6 bool, taken []netip.Prefix) {
	var plan sizing.Plan
	if given != "" {
		plan = w.In(netip.MustParsePrefix(given))
	} else {
		ok := false
		if plan, ok = w.Propose(ipv6, taken); !ok {
			if plan, ok = w.Propose(ipv6, nil); !ok {
				p.problem("no private network holds %d nodes with %d pods each", p.NodesWithRoom, p.PodsWithRoom)
				return
			}
		}
	}
	p.Networks = append(p.Networks, plannedFamily{plan.Network, plan.Len, plan.Nodes(), plan.Pods()})
	p.judge(w, plan)
	for _, o := range sizing.Overlaps(plan.Network, taken) {
		p.problem("%s overlaps the route of this node to %s: pods could not reach what is there: take another network", plan.Network, o)
	}
	if plan.Network.Overlaps(sizing.Services) {
		p.Notes = append(p.Notes, fmt.Sprintf("%s overlaps %s, which kubeadm takes for services: give services another range (--service-cidr)",
			plan.Network, sizing.Services))
	}
}

// judge says what does not fit.
func (p *planned) judge(w sizing.Wish, plan sizing.Plan) {
	want := w.WithHeadroom()
	switch nodes := plan.Nodes(); {
	case nodes < w.Nodes:
		p.problem("%s holds %d nodes with a /%d each, %d are wanted: take a bigger network", plan.Network, nodes, plan.Len, w.Nodes)
	case nodes < want.Nodes:
		p.Notes = append(p.Notes, fmt.Sprintf("%s has room for %d nodes, less than %d %% more than %d: a bigger network cannot be had later without new pods",
			plan.Network, nodes, w.Headroom, w.Nodes))
	}
	switch pods := plan.Pods(); {
	case pods < w.Pods:
		p.problem("a /%d of %s holds %d pods, %d are wanted: take a bigger network, or set the kubelet's maxPods to %d",
			plan.Len, plan.Network, pods, w.Pods, pods)
	case pods < want.Pods:
		p.Notes = append(p.Notes, fmt.Sprintf("a /%d of %s holds %d pods, less than %d %% more than %d: addresses of pods that have just ended rest for a while",
			plan.Len, plan.Network, pods, w.Headroom, w.Pods))
	}
}
