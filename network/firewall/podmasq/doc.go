// SPDX-License-Identifier: Apache-2.0

// Package podmasq lets pods reach the world outside the pod network under
// their node's address, one pod at a time: what the CNI plugin does where the
// agent was not started with --ip-masq. It keeps an nftables table of its own
// with a set of pod addresses per family, so that any number of pods costs a
// packet one look-up, and adding one is one transaction.
package podmasq
