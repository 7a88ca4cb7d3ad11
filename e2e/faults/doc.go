// SPDX-License-Identifier: Apache-2.0

// Package faults breaks one thing after another on a node whose agent runs,
// while its pods ping those of another node, and wants the agent to put the
// node back as it was: soon, with few packets lost, and without a restart.
// The faults are real, and so are agent, etcd and kernel (package
// internal/lab).
package faults
