// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/status"
)

// unassigned is a cluster that gives its Nodes no pod ranges, until somebody
// does.
func unassigned(t *testing.T, k *cluster) {
	labtest.Prove(t, k.Lab)
	pids := []int{process(t, k.Node(1)), process(t, k.Node(2))}
	for _, n := range k.Nodes() {
		k.wantClaim(t, n.Name(), subnetOf(t, n))
	}

	// A Node that is made anew before its claim went keeps its subnet.
	kept := subnetOf(t, k.Node(2))
	must(t, k.KillManager(t.Context()))
	must(t, k.admin.DeleteNode(t.Context(), "n2"))
	must(t, k.Node(2).Register(t.Context()))
	k.wantSubnet(t, k.Node(2), kept)
	k.wantClaim(t, "n2", kept)
	must(t, k.StartManager())

	// What the cluster assigns comes before what the node has chosen.
	chosen, assigned := subnetOf(t, k.Node(1)), netip.MustParsePrefix("10.244.201.0/24")
	k.reassign(t, k.Node(1), assigned)
	k.wantNoClaim(t, chosen)

	// A Node that goes takes its claim with it. Its next one waits for a pod
	// range, now that others have theirs from the cluster.
	chosen, assigned = subnetOf(t, k.Node(2)), netip.MustParsePrefix("10.244.202.0/24")
	must(t, k.admin.DeleteNode(t.Context(), "n2"))
	k.wantNoClaim(t, chosen)
	must(t, k.Node(2).Register(t.Context()))
	await(t, k.Node(2), func(s status.Status) error { return says(s, "n2", "podCIDR", "n1") })
	k.wantEvent(t, "n2", "podCIDR")
	k.reassign(t, k.Node(2), assigned)
	for i, pid := range pids {
		if now := process(t, k.Node(i+1)); now != pid {
			t.Errorf("the agent of n%d was process %d and is %d; want no restart", i+1, pid, now)
		}
	}
}

func subnetOf(t *testing.T, n *lab.Node) netip.Prefix {
	t.Helper()
	s, err := n.Agent(0).Status(t.Context())
	if err != nil || len(s.Subnets) != 1 {
		t.Fatalf("%s has subnets %v, %v; want one", n.Name(), s.Subnets, err)
	}
	return s.Subnets[0]
}

// claims returns the Lease objects of the cluster by name.
func (k *cluster) claims(t *testing.T) map[string]unstructured.Unstructured {
	t.Helper()
	list, err := k.admin.Resource(kubeapi.Leases, kubeapi.Namespace).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	all := make(map[string]unstructured.Unstructured)
	for _, o := range list.Items {
		all[o.GetName()] = o
	}
	return all
}

func claimName(p netip.Prefix) string {
	return "subnet-" + strings.NewReplacer(".", "-", "/", "-").Replace(p.String())
}

// wantClaim wants a Lease object for the subnet, which the Node holds and owns.
func (k *cluster) wantClaim(t *testing.T, node string, p netip.Prefix) {
	t.Helper()
	eventually(t, func() error {
		o, ok := k.claims(t)[claimName(p)]
		if !ok {
			return fmt.Errorf("there is no Lease %s for the subnet of %s", claimName(p), node)
		}
		holder, _, err := unstructured.NestedString(o.Object, "spec", "holderIdentity")
		owners := o.GetOwnerReferences()
		if holder != node || err != nil || len(owners) != 1 || owners[0].Kind != "Node" || owners[0].UID != k.object(t, node).GetUID() {
			return fmt.Errorf("Lease %s: holder %q, %v, owners %+v; want Node %s as both", o.GetName(), holder, err, owners, node)
		}
		return nil
	})
}

func (k *cluster) wantNoClaim(t *testing.T, p netip.Prefix) {
	t.Helper()
	eventually(t, func() error {
		if _, ok := k.claims(t)[claimName(p)]; ok {
			return fmt.Errorf("Lease %s is there; want it released", claimName(p))
		}
		return nil
	})
}

// wantSubnet waits until the node has just that subnet, and every other knows.
func (k *cluster) wantSubnet(t *testing.T, n *lab.Node, p netip.Prefix) {
	t.Helper()
	await(t, n, func(s status.Status) error {
		if !s.Ready || !slices.Equal(s.Subnets, []netip.Prefix{p}) {
			return fmt.Errorf("%s: ready %t, waiting for %q, subnets %v; want ready with %s", n.Name(), s.Ready, s.Waiting, s.Subnets, p)
		}
		return nil
	})
	for _, other := range k.Nodes() {
		if other.Name() == n.Name() {
			continue
		}
		eventually(t, func() error {
			peers, err := other.Agent(0).Peers(t.Context())
			if !slices.ContainsFunc(peers, func(peer status.Peer) bool {
				return peer.Node == n.Name() && slices.Equal(peer.Subnets, []netip.Prefix{p})
			}) {
				return fmt.Errorf("peers of %s: %+v, %v; want %s with %s", other.Name(), peers, err, n.Name(), p)
			}
			return nil
		})
	}
}

// reassign gives a node a pod range that its pods do not live in. It keeps what
// it has, and says so, until they are gone, as by a drain.
func (k *cluster) reassign(t *testing.T, n *lab.Node, to netip.Prefix) {
	t.Helper()
	k.assign(t, n.Name(), to)
	await(t, n, func(s status.Status) error { return says(s, "pods", to.String()) })
	labtest.Prove(t, k.Lab)
	for _, p := range n.Pods() {
		must(t, n.RemovePod(t.Context(), p))
	}
	k.wantSubnet(t, n, to)
	_, err := n.AddPod(t.Context(), 0)
	must(t, err)
	labtest.Prove(t, k.Lab)
}

// wantEvent waits for an Event on a Node that speaks of something.
func (k *cluster) wantEvent(t *testing.T, node, of string) {
	t.Helper()
	eventually(t, func() error {
		list, err := k.admin.Resource(kubeapi.Events, metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			on, _, _ := unstructured.NestedString(e.Object, "involvedObject", "name")
			message, _, _ := unstructured.NestedString(e.Object, "message")
			if on == node && strings.Contains(message, of) {
				return nil
			}
		}
		return fmt.Errorf("%d Events; want one on Node %s that speaks of %s", len(list.Items), node, of)
	})
}
