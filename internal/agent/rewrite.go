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

// Rewrites are when our lease was written again within the last rewriteSpan,
// though it was the same as before and not due. They are the lease loop's alone.
type rewrites []time.Time

// note remembers one.
func (r *rewrites) note(now time.Time) { *r = append(*r, now) }

// exceeded reports whether there were too many to write again now.
func (r *rewrites) exceeded(now time.Time) bool {
	*r = slices.DeleteFunc(*r, func(at time.Time) bool { return now.Sub(at) >= rewriteSpan })
	return len(*r) >= rewriteMost
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
