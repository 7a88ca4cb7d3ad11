// SPDX-License-Identifier: Apache-2.0

// Package lab runs several Percale nodes on one machine. Each node and each pod
// is a network namespace; the nodes hang on one switch, or on two that a router
// joins; etcd and every agent are processes of their own. Pods are wired by
// percale-cni, as a container runtime would do it.
//
// Nothing of a lab touches the machine's own network. All that a lab makes is
// written down before it is made, in lab.json below [Root], so that Down finds
// it also after the process that built the lab was killed.
package lab
