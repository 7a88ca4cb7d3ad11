// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"

	"github.com/percale-net/percale/network"
)

// ReadLinks is Read without routes, neighbors and FDB entries, of which a node
// of a big cluster has tens of thousands: for a program that wires one pod.
func (c *Conn) ReadLinks(ctx context.Context, s Scope) (network.State, error) {
	r, err := c.newReader(ctx, s)
	if err != nil {
		return network.State{}, err
	}
	if err := r.addresses(ctx); err != nil {
		return network.State{}, err
	}
	if r.state.Sysctls, err = c.readSysctls(s.Sysctls); err != nil {
		return network.State{}, err
	}
	return r.state, nil
}
