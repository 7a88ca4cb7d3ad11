// SPDX-License-Identifier: Apache-2.0

// Package kube holds the tests that run labs on a real Kubernetes API server,
// with RBAC and admission as dist/percale.yaml has them, and a token of its own
// for each agent.
package kube
