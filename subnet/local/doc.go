// SPDX-License-Identifier: Apache-2.0

// Package local keeps what a node knows by itself, in files: the subnet that
// its pods live in (subnet.env), why the agent is not ready yet, and the
// address of each pod. The agent writes the first two, the CNI plugin the
// last; neither needs the other to run.
package local
