// SPDX-License-Identifier: Apache-2.0

// Package guard keeps pods honest, and strangers out of the tunnel. It writes
// nftables tables of its own, over netlink; it needs no nft binary:
//
//	bridge and inet percale-guard   what a pod may send: Pods
//	inet <instance>-tunnel          which tunnel packets this node takes: Tunnel
//
// What a packet is compared with are hashed sets, so that it costs the same
// with one pod or peer as with thousands, and a pod or peer that comes or goes
// is a change of some elements, never of rules. The tables are apart from that
// of package nftables, so that nothing which is written there can lose
// elements for an instant.
package guard
