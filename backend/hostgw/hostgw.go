// SPDX-License-Identifier: Apache-2.0

// Package hostgw reaches peers by plain routes via their uplink addresses. No
// byte is added to a packet, but every peer must be on the uplink's own
// segment.
package hostgw

import (
	"errors"
	"fmt"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

// Name is the type that leases publish.
const Name = "host-gw"

// Backend has no settings.
type Backend struct{}

var _ backend.Backend = Backend{}

// Name implements backend.Backend.
func (Backend) Name() string { return Name }

// Publish implements backend.Backend: the uplink address says it all.
func (Backend) Publish(backend.Self) (v4, v6 string) { return "", "" }

// Devices implements backend.Backend: none is needed.
func (Backend) Devices(backend.Self) (network.State, error) { return network.NewState(), nil }

// PodMTU implements backend.Backend: nothing is added to a packet.
func (Backend) PodMTU(self backend.Self) int { return self.Uplink.MTU }

// Peer implements backend.Backend.
func (Backend) Peer(self backend.Self, peer subnet.Lease) (backend.Entries, error) {
	if peer.Backend != Name {
		return backend.Entries{}, fmt.Errorf("backend type %q: this node runs %q, and both ends must run the same", peer.Backend, Name)
	}
	var entries backend.Entries
	var errs []error
	for f := range self.Families() {
		theirs := f.Of(peer)
		if !theirs.Subnet.IsValid() {
			continue
		}
		if !self.Uplink.Reaches(theirs.Uplink) {
			errs = append(errs, fmt.Errorf("uplink %s is not on the segment of %s: host-gw needs every node on one; "+
				"use backend vxlan with \"DirectRouting\": true", theirs.Uplink, self.Uplink.Name))
			continue
		}
		entries.Routes = append(entries.Routes, backend.DirectRoute(self, f, theirs))
	}
	return entries, errors.Join(errs...)
}
