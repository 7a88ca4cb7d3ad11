// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"

	"golang.org/x/sys/unix"
)

// KillKube ends the lab's API server as a crash does. StartKube starts it again.
func (l *Lab) KillKube(ctx context.Context) error { return l.kill(ctx, kubeRole) }

// PauseKube stops the lab's API server where it stands: connections stay open,
// and nothing answers.
func (l *Lab) PauseKube() error { return l.process(kubeRole).pause() }

// ResumeKube lets a paused API server go on.
func (l *Lab) ResumeKube() error { return l.process(kubeRole).send(unix.SIGCONT) }

// KillManager ends the lab's kube-controller-manager: what a Node that is deleted
// owns stays until StartManager.
func (l *Lab) KillManager(ctx context.Context) error { return l.kill(ctx, managerRole) }

// LoseKube drops every packet between the node and the API server, both ways and
// without a word, at the server's end: all else of the node's traffic goes on.
func (n *Node) LoseKube() error { return n.filter("-I", kubePort) }

// FindKube undoes one LoseKube.
func (n *Node) FindKube() error { return n.filter("-D", kubePort) }
