// SPDX-License-Identifier: Apache-2.0

// Package ipam chooses addresses for pods out of a node's subnets. It is pure:
// which addresses are in use is told to it (subnet/local keeps them).
package ipam
