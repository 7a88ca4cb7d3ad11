// SPDX-License-Identifier: Apache-2.0

// Package nodes watches the Node objects of a Kubernetes cluster, at the least
// cost to the API server and to us: it asks for their metadata only, in the
// server's binary encoding, and keeps of it nothing but what its caller wants.
// It decides nothing and writes nothing.
//
// It needs the rights get, list and watch on nodes, and list and watch on leases
// where records are.
package nodes
