// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"maps"
	"time"

	"github.com/percale-net/percale/internal/status"
)

// partPods is what pods are told of under that no longer fit their node.
const partPods = "pods"

// A stranded tells of pods that live in a subnet which their node has no more.
type stranded struct {
	err   error           // what it means for them
	ports map[string]bool // the node's ends of them, by name
}

// strand notes that the pods behind the ports have been left in another subnet.
func (a *Agent) strand(err error, ports map[string]bool) {
	a.log.Warn("the subnet is another one now", "err", err)
	a.stranded.Store(&stranded{err, maps.Clone(ports)})
	a.report(func(s *status.Status) { s.Fault(partPods, err, time.Now()) })
}

// strandedFault returns what is wrong with pods as long as one of those that
// were stranded is there, by the ports that there are now.
func (a *Agent) strandedFault(now map[string]bool) error {
	was := a.stranded.Load()
	if was == nil {
		return nil
	}
	for port := range was.ports {
		if _, there := now[port]; there {
			return was.err
		}
	}
	a.stranded.CompareAndSwap(was, nil)
	return nil
}
