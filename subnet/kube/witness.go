// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// maxWitnesses bounds how many Nodes are read in one round.
const maxWitnesses = 8

// The witnesses of a watch are Nodes that say that the cluster gave them their
// subnet. What one publishes is a word; that it has pod CIDRs only the cluster
// can write. One that says so by mistake, or to keep new nodes from starting,
// would have them wait for ever.
type witnesses struct {
	bare   map[string]string // UIDs of those that have no pod CIDR, by name; see customOf
	proven map[string]string // and of those that have one
	fault  error             // of the last read
	denial nodes.Denial      // of reading
}

// assign decides who gives our node its subnets, and returns when to decide
// again. A Node is read whole before ours waits on its word.
func (w *watch) assign(ctx context.Context, h heard) (a subnet.Assigned, again time.Duration) {
	st := w.situation(h)
	w.witnesses.fault = nil
	for range maxWitnesses {
		a, again = st.assign()
		n := h.peers.Nodes[st.custom.cluster]
		uid, proven := w.proven[n.Name]
		if a.Pending == "" || n.Name == "" || len(n.PodCIDRs) > 0 || proven && uid == n.UID {
			return a, again
		}
		if err := w.examine(ctx, n); err != nil {
			if !w.witnesses.denial.Passes(apierrors.IsForbidden(err)) {
				w.witnesses.fault = err
			}
			return a, retry
		}
		w.witnesses.denial.Passes(false)
		w.custom = w.store.keys.customOf(h.peers.Nodes, w.store.cfg.Node, w.bare)
		st.custom = w.custom
	}
	return a, retry
}

// examine reads a Node whole, and remembers whether it has pod CIDRs.
func (w *watch) examine(ctx context.Context, n nodes.Node) error {
	whole, err := w.store.node(ctx, n.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	to := &w.bare
	if len(podCIDRs(whole.assigned())) > 0 {
		to = &w.proven
	}
	if *to == nil {
		*to = make(map[string]string)
	}
	(*to)[n.Name] = n.UID
	return nil
}
