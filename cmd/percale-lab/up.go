// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/percale-net/percale/internal/lab"
)

func upCommand(name *string) *cobra.Command {
	var spec lab.Spec
	var families, conf, store string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the nodes, start the agents, wire the pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec.Name, spec.Families, spec.Conf = *name, lab.Families(families), json.RawMessage(conf)
			spec.Store = lab.Store(store)
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			start := time.Now()
			l, err := lab.Up(ctx, spec)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "lab %s is up: %d nodes, %d pods, %.1f s\n",
				l.Name(), len(l.Nodes()), len(l.Pods()), time.Since(start).Seconds())
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&spec.Nodes, "nodes", 3, "how many nodes")
	f.IntVar(&spec.Pods, "pods", 2, "how many pods on each node, for each network")
	f.IntVar(&spec.Switches, "switches", 1, "1, or 2 that a router joins")
	f.IntVar(&spec.Networks, "networks", 1, "how many pod networks, each with an agent on every node")
	f.StringVar(&families, "families", "ipv4", "ipv4, dual or ipv6")
	f.StringVar(&spec.Backend, "backend", "vxlan", "type of the backend")
	f.StringVar(&conf, "conf", "", "JSON object to merge into net-conf, such as '{\"Backend\":{\"DirectRouting\":true}}'")
	f.StringVar(&store, "store", "etcd", "where the leases are: etcd, or kube: on the Nodes of a real API server (make kubeapi)")
	f.StringVar(&spec.Manifest, "manifest", "", "with --store kube: what to apply to it; default dist/percale.yaml beside the binaries' folder")
	f.BoolVar(&spec.NoPodCIDRs, "no-pod-cidrs", false, "with --store kube: Kubernetes gives Nodes no pod ranges")
	f.StringArrayVar(&spec.Args, "agent-arg", nil, "argument for every percaled; may be repeated")
	f.StringVar(&spec.Bin, "bin", "", "directory of the binaries; default $PERCALE_BIN, else this program's")
	f.DurationVar(&timeout, "timeout", 2*time.Minute, "give up, and remove what was made, after this time")
	return cmd
}

func downCommand(name *string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the lab: processes, namespaces, files",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{*name}
			if all {
				var err error
				if names, err = lab.List(); err != nil {
					return err
				}
			}
			for _, n := range names {
				if err := lab.Down(cmd.Context(), n); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every lab on this machine")
	return cmd
}

// etcdCommand is what up starts in the switch's namespace.
func etcdCommand() *cobra.Command {
	var c lab.EtcdConfig
	cmd := &cobra.Command{
		Use:    "etcd",
		Short:  "Run the lab's etcd; for percale-lab itself",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return lab.ServeEtcd(cmd.Context(), c) },
	}
	cmd.Flags().StringVar(&c.Dir, "dir", "", "data directory")
	cmd.Flags().StringVar(&c.Listen, "listen", "", "client URL")
	return cmd
}
