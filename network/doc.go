// SPDX-License-Identifier: Apache-2.0

// Package network says what a node's kernel must hold, as plain values: links,
// addresses, routes, neighbors, forwarding (FDB) entries and sysctls. It is
// pure: it opens no socket, reads no clock and logs nothing. Package
// network/kernel reads such a State from the kernel and makes it so.
//
// Every entry has a key, which is the kernel's own identity for it: setting an
// entry replaces what stands under its key, and two entries with one key
// cannot both exist.
package network
