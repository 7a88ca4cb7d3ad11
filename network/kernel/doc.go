// SPDX-License-Identifier: Apache-2.0

// Package kernel reads a network.State from one network namespace, applies
// network.Changes to it and watches it. It decides nothing. It speaks route
// netlink (RFC 3549, rtnetlink(7)) through its own small encoder and decoder,
// because thousands of entries are to be written with few system calls and
// each error must still name its entry.
//
// A route that network.Route cannot express (several next hops, a source
// address, metrics of its own, …) is read with Onlink set and no Via, which no
// other route has; deleting that value deletes the route as it is. In the same
// way, a forwarding entry with a port, VNI or link of its own has no Dst.
package kernel
