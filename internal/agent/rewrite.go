// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Our lease is written at most so often in such a time while it is what it was:
// who changes it each time would have us write as fast as the store answers, and
// every other agent of the cluster hear of each write.
const (
	rewriteMost = 10
	rewriteSpan = time.Minute
)

// errRewritten says that our lease does not stay in the store as we write it.
var errRewritten = errors.New("another program changes our lease in the store again and again")

// Rewrites are of our lease, though it was the same as before and not due. They
// are the lease loop's alone.
type rewrites struct {
	at   []time.Time // within the last rewriteSpan
	full time.Time   // since when there are too many of them; zero: there are not
}

// note remembers one.
func (r *rewrites) note(now time.Time) { r.at = append(r.at, now) }

// exceeded reports whether there were too many to write again now, and whether
// that lasts: a store that is busy may show what we wrote a while later.
func (r *rewrites) exceeded(now time.Time) (many, lasting bool) {
	r.at = slices.DeleteFunc(r.at, func(at time.Time) bool { return now.Sub(at) >= rewriteSpan })
	switch {
	case len(r.at) < rewriteMost:
		r.full = time.Time{}
		return false, false
	case r.full.IsZero():
		r.full = now
	}
	return true, now.Sub(r.full) >= leaseGrace
}

// rewritten says what helps against who changes our lease.
func (a *Agent) rewritten() error {
	see := "see which addresses it gets with percale status on the other nodes"
	if a.settings.KubeSubnetMgr {
		see = "see who writes with kubectl get node " + a.settings.NodeName + " -o yaml --show-managed-fields"
	}
	return fmt.Errorf("%w: it was written %d times in %v and never stayed. Packets of peers go astray meanwhile, and it is written less often. "+
		"Look whether a second percaled or flanneld has the name %s (--node-name, NODE_NAME), and stop that one; %s",
		errRewritten, rewriteMost, rewriteSpan, a.settings.NodeName, see)
}
