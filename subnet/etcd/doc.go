// SPDX-License-Identifier: Apache-2.0

// Package etcd keeps leases in etcd (API v3) as flannel does: one key per
// lease, named for its subnets, bound to an etcd lease of 24 hours. A node that
// runs flannel reads what it writes, and the other way round. It translates and
// watches; it decides nothing.
package etcd
