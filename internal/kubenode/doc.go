// SPDX-License-Identifier: Apache-2.0

// Package kubenode tells Kubernetes of our node: the conditions
// NetworkUnavailable and PodSubnetExhausted, and Events when they change. It
// also finds the API server and our own name there.
//
// A Story decides what is to be told, and is pure; a Teller tells it. They need
// these rights: get on nodes, patch on nodes/status, create and patch on events
// in the namespace default, and without NODE_NAME get on pods in our own
// namespace.
package kubenode
