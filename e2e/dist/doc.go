// SPDX-License-Identifier: Apache-2.0

// Package dist tests what is installed: the manifest, the Helm chart, the
// Kustomize base, the systemd unit and the container image. It is a module of
// its own, so that what Helm requires is not required of Percale. It drives the
// built binaries, which PERCALE_BIN names, and the image's root file system
// beside them; make test builds both.
package dist
