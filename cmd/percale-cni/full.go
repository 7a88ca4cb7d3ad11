// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	podaddrs "github.com/percale-net/percale/internal/addresses"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// bridgePorts is how many ports a bridge can have (BR_MAX_PORTS of the kernel,
// less the number that it does not give).
const bridgePorts = 1023

// explainReserve adds to the refusal of an address what helps against it.
func (j *job) explainReserve(ctx context.Context, err error) error {
	var full *ipam.FullError
	var taken *ipam.TakenError
	switch {
	case errors.As(err, &full):
		return coded(codeFull, explainFull(ctx, full, j.store, j.host))
	case errors.As(err, &taken):
		return codef(codeTaken, "%s asks for it: %w: delete the pod that has it, or ask for another one", j.settings.wantedBy, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		err = fmt.Errorf("%w: make room on the disk of the pod addresses (ipam.dataDir; df -h, df -i)", err)
	case errors.Is(err, unix.EROFS):
		err = fmt.Errorf("%w: mount it for writing, or name another directory (ipam.dataDir)", err)
	}
	return coded(types.ErrIOFailure, err)
}

// explainFull adds to the error how many addresses are of sandboxes that no
// longer exist, as far as that is certain: those that percale ipam gc frees.
func explainFull(ctx context.Context, full *ipam.FullError, store local.Store, host *kernel.Conn) error {
	v, err := podaddrs.Look(ctx, host, []local.Store{store}, func(local.Store) bool { return true })
	if gone := v.Use(full.Subnet).Gone; err == nil && gone > 0 {
		return fmt.Errorf("%w, %d of them by sandboxes that no longer exist (percale ipam gc)", full, gone)
	}
	return fmt.Errorf("%w: delete pods of this node, or give nodes bigger subnets (SubnetLen, or --node-cidr-mask-size of kube-controller-manager; percale plan)", full)
}

// explainPorts says in words that a bridge has no port left.
func explainPorts(err error, bridge string) error {
	if errors.Is(err, unix.EXFULL) {
		return noPorts(bridge)
	}
	return err
}

func noPorts(bridge string) error {
	return codef(codePorts, "bridge %s has all the %d ports that the kernel gives a bridge: run fewer pods on this node, "+
		"or remove ports that are of no pod (ip link show master %s; percale ipam gc)", bridge, bridgePorts, bridge)
}
