// SPDX-License-Identifier: Apache-2.0

// Package kube keeps leases in annotations of Kubernetes Nodes as flannel does.
// A node that runs flannel reads what it writes, and the other way round. Where
// the cluster gives Nodes no pod CIDR, a Lease object of coordination.k8s.io,
// which only one node can create, makes a subnet that node's.
//
// What a Node says of its lease also stands in a record, a Lease object that
// other agents watch in place of the Node; see nodes.Records.
//
// It needs the rights get, list and watch on nodes, patch on nodes/status, and get,
// list, watch, create, update and delete on leases of its namespace.
package kube
