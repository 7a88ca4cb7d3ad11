// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// netConf returns the network configuration, as etcd or a ConfigMap has it.
func (p *planned) netConf() json.RawMessage {
	conf := struct {
		Network       string `json:",omitempty"`
		SubnetLen     int    `json:",omitempty"`
		EnableIPv4    *bool  `json:",omitempty"`
		EnableIPv6    bool   `json:",omitempty"`
		IPv6Network   string `json:",omitempty"`
		IPv6SubnetLen int    `json:",omitempty"`
		Backend       struct{ Type string }
	}{}
	conf.Backend.Type = "vxlan"
	for _, n := range p.Networks {
		if n.Network.Addr().Is4() {
			conf.Network, conf.SubnetLen = n.Network.String(), n.SubnetLen
		} else {
			conf.EnableIPv6, conf.IPv6Network, conf.IPv6SubnetLen = true, n.Network.String(), n.SubnetLen
		}
	}
	if conf.Network == "" {
		conf.EnableIPv4 = new(bool)
	}
	b, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return json.RawMessage("null") // of strings and numbers: cannot be
	}
	return b
}

// printPlan writes p in at most 100 columns, but for its findings.
func printPlan(w io.Writer, p planned) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("nodes", "%d, with %d %% headroom %d", p.Nodes, p.Headroom, p.NodesWithRoom)
	line("pods", "%d of each node, with %d %% headroom %d", p.Pods, p.Headroom, p.PodsWithRoom)
	for _, n := range p.Networks {
		line("network", "%s  holds %s nodes", n.Network, many(n.NodesHeld))
		fits := "fits"
		if n.PodsPerNode < p.Pods {
			fits = "does not fit"
		}
		line("subnet", "a /%d of each node  holds %s pods; max-pods %d %s", n.SubnetLen, many(n.PodsPerNode), p.Pods, fits)
	}
	if p.routesOfThisNode && len(p.Problems) == 0 {
		line("routes", "none of this node overlaps")
	}
	for _, section := range []struct {
		name  string
		lines []string
	}{{"problems", p.Problems}, {"notes", p.Notes}} {
		if len(section.lines) > 0 {
			fmt.Fprintln(w, "\n"+section.name)
		}
		for _, text := range section.lines {
			fmt.Fprintln(w, "  "+text)
		}
	}
	if len(p.Networks) > 0 {
		fmt.Fprintf(w, "\nnet-conf.json\n%s\n", p.NetConf)
		fmt.Fprintf(w, "\nkube-controller-manager, if it is to assign the subnets\n%s\n", strings.Join(p.managerFlags(), "\n"))
	}
}

// managerFlags returns what has Kubernetes assign the subnets that net-conf
// would have nodes lease.
func (p *planned) managerFlags() []string {
	var networks, sizes []string
	for _, n := range p.Networks {
		size := "--node-cidr-mask-size"
		if len(p.Networks) > 1 {
			size += map[bool]string{true: "-ipv4", false: "-ipv6"}[n.Network.Addr().Is4()]
		}
		networks = append(networks, n.Network.String())
		sizes = append(sizes, fmt.Sprintf("%s=%d", size, n.SubnetLen))
	}
	return append([]string{"--allocate-node-cidrs=true", "--cluster-cidr=" + strings.Join(networks, ",")}, sizes...)
}

func many(n uint64) string {
	if n > 1<<32 {
		return "more than 4 billion"
	}
	return fmt.Sprint(n)
}
