// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"time"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// grace is how long a Node without pod CIDR waits for one where nothing tells
// whether the cluster gives any: as long as a controller manager may take to
// start and to be elected. It passes once for a cluster: its next nodes see that
// this one has leased its subnet by itself.
const grace = 30 * time.Second

// A custom is how subnets come to the nodes of a cluster, by what they say. The
// names are of one node each; "": none says so.
type custom struct {
	cluster string // has its subnet from the cluster
	lease   string // has leased its own
}

// customOf reads what Nodes other than ours say. Which one is named does not
// depend on their order. Nodes that are in bare, by name with their UID, have
// nothing from the cluster whatever they say.
func (k keys) customOf(all map[string]nodes.Node, own string, bare map[string]string) (c custom) {
	note := func(name string, to *string) {
		if *to == "" || name < *to {
			*to = name
		}
	}
	for _, n := range all {
		if n.Name == own || n.Annotations[k.manager] != yes {
			continue
		}
		switch n.Annotations[keySource] {
		case sourceCluster:
			if uid, is := bare[n.Name]; !is || uid != n.UID {
				note(n.Name, &c.cluster)
			}
		case sourceLease:
			note(n.Name, &c.lease)
		default:
			if _, told := n.Annotations[keySubnets]; !told && len(n.PodCIDRs) > 0 {
				note(n.Name, &c.cluster) // flannel's
			}
		}
	}
	return c
}

// A situation is all that tells whether our node is to choose a subnet.
type situation struct {
	node     string // our name
	own      nodes.Own
	custom   custom
	assigned bool          // this node had pod CIDRs since the agent's start
	waited   time.Duration // for pod CIDRs, since the Node was seen without
}

// assign decides who gives our node its subnets. Pod CIDRs always count. Without
// them the node chooses by itself only where no other node has any, or where it
// has done so before: a node that chooses too early gets pods in a subnet that
// it has to give up. It returns how long to wait for another decision; 0: until
// the situation changes.
func (s situation) assign() (a subnet.Assigned, again time.Duration) {
	for _, p := range podCIDRs(s.own.PodCIDRs) {
		if p.Addr().Is4() {
			a.V4 = p
		} else {
			a.V6 = p
		}
	}
	wait := func(format string, args ...any) (subnet.Assigned, time.Duration) {
		return subnet.Assigned{Pending: fmt.Sprintf(format, args...)}, 0
	}
	switch {
	case a.Given():
		return a, 0
	case !s.own.Exists:
		return wait("the cluster has no Node %s (yet); see --node-name, and: kubectl get nodes", s.node)
	case s.own.Annotations[keySource] == sourceLease:
		return a, 0
	case s.assigned:
		return wait("Node %s has no spec.podCIDR, and it had one before", s.node)
	case s.custom.cluster != "":
		return wait("Node %s has no spec.podCIDR, while others, such as Node %s, have their subnet from there", s.node, s.custom.cluster)
	case s.custom.lease != "" || s.waited >= grace:
		return a, 0
	}
	a.Pending = fmt.Sprintf("Node %s has no spec.podCIDR; if the cluster assigns none within %v, the node leases a subnet by itself", s.node, grace)
	return a, grace - s.waited
}
