// SPDX-License-Identifier: Apache-2.0

// Package subnet says who owns which addresses: leases, the pools that they are
// taken from, which leases to believe, and which subnet to take. It is pure; a
// Store (subnet/etcd, subnet/kube) only translates and watches.
package subnet
