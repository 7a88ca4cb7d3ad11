// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the tests that drive the built binaries in labs (package
// internal/lab): real agents, real etcd, real kernel. They take the binaries
// from $PERCALE_BIN, or build them. They need root; in-netns runs them where
// they can do no harm, with root or without.
package e2e
