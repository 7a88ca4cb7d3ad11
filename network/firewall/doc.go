// SPDX-License-Identifier: Apache-2.0

// Package firewall says which packet rules a node needs, as plain values: which
// pod packets leave under the node's own address, which are forwarded, and
// which are not connection-tracked. It is pure. A Ruleset has one meaning,
// Verdict; packages nftables and iptables render it, and a test sends packets
// through both to see that they agree with it.
package firewall
