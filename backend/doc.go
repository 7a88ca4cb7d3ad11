// SPDX-License-Identifier: Apache-2.0

// Package backend says how a packet reaches its owner: it joins leases to the
// state that the kernel must hold. It is pure, and so is each backend below it.
package backend
