// SPDX-License-Identifier: Apache-2.0

// Package runtime holds the tests that give pods their network as a container
// runtime does: by go-cni, which containerd calls plugins with, by cnitool of
// the CNI project, and by containerd itself, which the tests start with
// directories, socket and network namespace of its own and drive through the
// CRI, as a kubelet does. It is a module of its own, so that what a runtime
// needs is no dependency of Percale.
//
// It takes the binaries from $PERCALE_BIN, containerd, ctr and runc from $PATH
// (in front of which stands $PERCALE_CONTAINERD, a directory with another
// release), and the plugins loopback and portmap of the CNI project from
// /usr/lib/cni, /opt/cni/bin or $PERCALE_CNI_PLUGINS. Without them it skips, or
// fails where $PERCALE_NOSKIP is set.
package runtime
