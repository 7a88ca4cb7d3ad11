// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/internal/status"
)

// peersOf returns the peers of a round's plan, and how the kernel took each.
func peersOf(r result) []status.Peer {
	failed := failedEntries(r.err)
	complete := r.err == nil || len(failed) > 0 // else nothing was written
	peers := make([]status.Peer, 0, len(r.plan.Peers))
	for _, p := range r.plan.Peers {
		peer := status.Peer{Node: p.Lease.Name(), Backend: p.Lease.Backend, Path: path(p), Programmed: complete}
		for e := range p.Lease.Endpoints() {
			peer.Subnets = append(peer.Subnets, e.Subnet)
			peer.Uplinks = append(peer.Uplinks, e.Uplink)
		}
		if err := failureOf(p.Entries, failed); err != nil {
			peer.Programmed, peer.Error = false, err.Error()
		}
		peers = append(peers, peer)
	}
	return peers
}

func path(p backend.Peer) string {
	if len(p.Entries.Forwards) > 0 {
		return "tunnel"
	}
	return "direct"
}

// failureOf returns why the kernel did not take one of the entries.
func failureOf(e backend.Entries, failed map[any]error) error {
	if len(failed) == 0 {
		return nil
	}
	for _, f := range e.Forwards {
		if err := failed[f]; err != nil {
			return fmt.Errorf("FDB entry %s: %w", f.MAC, err)
		}
	}
	for _, n := range e.Neighbors {
		if err := failed[n]; err != nil {
			return fmt.Errorf("neighbor %s: %w", n.IP, err)
		}
	}
	for _, r := range e.Routes {
		if err := failed[r]; err != nil {
			return fmt.Errorf("route %s: %w", r.Dst, err)
		}
	}
	return nil
}

func countOf(peers []status.Peer) status.PeerCount {
	c := status.PeerCount{Wanted: len(peers)}
	for _, p := range peers {
		if p.Programmed {
			c.Programmed++
		}
	}
	return c
}
