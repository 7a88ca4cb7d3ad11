// SPDX-License-Identifier: Apache-2.0

// Package runtime holds the tests that give pods their network as a container
// runtime does: by go-cni, which containerd calls plugins with, and by cnitool
// of the CNI project. It is a module of its own, so that what a runtime needs
// is no dependency of Percale.
//
// It takes the binaries from $PERCALE_BIN, and the plugins loopback and portmap
// of the CNI project from /usr/lib/cni, /opt/cni/bin or $PERCALE_CNI_PLUGINS.
package runtime
