// SPDX-License-Identifier: Apache-2.0

// Package pod says how a pod is wired to its node, as network.State: a bridge
// in the node's namespace, and a veth pair from a port of it to the pod, where
// the other end has the pod's addresses and routes. It is pure.
//
// Names and MAC addresses are derived, not drawn: whoever knows the container
// and its interface finds the wiring again without having kept anything, and a
// new pod under an old address is at once known to its neighbors.
package pod
