// SPDX-License-Identifier: Apache-2.0

// Package local keeps what a node knows by itself, in files: the subnet that
// its pods live in (subnet.env), why the agent is not ready yet, its own lease
// and the peers that it knew last, what the pods' bridge is like, and the
// address of each pod. The agent writes all but the last, the CNI plugin that;
// neither needs the other to run.
package local
