// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// status fails where ADD would, whatever the pod. The code says whether the
// pods that are there suffer too: they do when the agent has not got ready
// since the machine started, as nothing leads to other nodes then.
func status(args *request) error {
	c, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	s, err := c.settings("")
	if err != nil {
		return err
	}
	store, err := c.store()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := store.Settle(ctx); err != nil {
		return coded(types.ErrPluginNotAvailable, err)
	}
	entries, err := store.Entries()
	if err != nil {
		return coded(types.ErrPluginNotAvailable, err)
	}
	e, err := readEnv(c, time.Now())
	if err != nil {
		code := types.ErrPluginNotAvailable
		if len(entries) > 0 {
			code = types.ErrLimitedConnectivity
		}
		return types.NewError(code, err.Error(), "")
	}
	j := &job{config: c, settings: s, store: store}
	if j.plan, err = newPlan(s, e, kernelHasIPv6()); err != nil {
		return codef(types.ErrPluginNotAvailable, "%s and delegate: %w", c.SubnetFile, err)
	}
	if err := j.available(ctx, entries); err != nil {
		return types.NewError(types.ErrPluginNotAvailable, coded(0, err).Msg, "")
	}
	return nil
}

// available fails where no pod could be added: no address, no port, a bridge of
// another subnet, a directory that cannot be written.
func (j *job) available(ctx context.Context, entries []local.Entry) (err error) {
	if j.host, err = kernel.Open(""); err != nil {
		return err
	}
	defer j.host.Close()
	used := ipam.Set{}
	for _, e := range entries {
		used[e.Addr] = true
	}
	var full *ipam.FullError
	if _, err := (ipam.Choice{Ranges: j.plan.ranges, Used: used}).Choose(); errors.As(err, &full) {
		return explainFull(ctx, full, j.store, j.host)
	}
	ports, err := j.host.Ports(ctx, j.plan.bridge.Name)
	if err != nil {
		return err
	}
	if len(ports) >= bridgePorts {
		return noPorts(j.plan.bridge.Name)
	}
	have, err := j.host.ReadDevices(ctx, kernel.Scope{Devices: []string{j.plan.bridge.Name}})
	if err != nil {
		return err
	}
	return j.refuseForeign(ctx, j.plan.bridge.Foreign(have.Addresses))
}
