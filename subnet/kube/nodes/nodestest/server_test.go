// SPDX-License-Identifier: Apache-2.0

package nodestest

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/kubetest"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// TestServer watches a real API server through what happens to a cluster.
func TestServer(t *testing.T) {
	s := kubetest.Shared(t)
	c := newCluster(t, s.Admin())
	c.each(t, 3, c.join)
	f := follow(t, nodes.Config{Client: s.Admin(), Wanted: wanted})
	first := f.Await(t, "first snapshot", func(s nodes.Snapshot) bool { return len(s.Nodes) == 3 })
	n := first.Nodes[nodeName(1)]
	want := nodes.Node{Name: nodeName(1), UID: n.UID, Annotations: map[string]string{"percale.io/subnets": "10.64.1.0/24"}}
	if !reflect.DeepEqual(n, want) || n.UID == "" {
		t.Errorf("node = %+v; want %+v, and its UID", n, want)
	}
	// What changes nothing wanted is not told.
	for range 5 {
		c.each(t, 3, c.beat)
	}
	c.do(t, c.publish(t.Context(), 0, map[string]any{"percale.io/subnets": "10.99.0.0/24"}))
	f.Await(t, "changed annotation", func(s nodes.Snapshot) bool { return subnetsOf(s, nodeName(0)) == "10.99.0.0/24" })
	if told := f.Told(); len(told) != 2 {
		t.Errorf("%d snapshots; want 2, since kubelets' updates change nothing", len(told))
	}
	c.do(t, c.publish(t.Context(), 2, map[string]any{"percale.io/subnets": nil, "percale.io/huge": strings.Repeat("x", 200<<10)}))
	f.Await(t, "huge annotation", func(s nodes.Snapshot) bool {
		n := s.Nodes[nodeName(2)]
		return n.Annotations == nil && n.Oversize["percale.io/huge"] == 200<<10
	})
	c.do(t, s.DeleteNode(t.Context(), nodeName(1)))
	f.Await(t, "deletion", func(s nodes.Snapshot) bool { return len(s.Nodes) == 2 && s.Nodes[nodeName(1)].Name == "" })
	c.do(t, c.join(t.Context(), 1))
	f.Await(t, "new Node of the same name", func(s nodes.Snapshot) bool {
		return s.Nodes[nodeName(1)].UID != want.UID && subnetsOf(s, nodeName(1)) != ""
	})
}

// TestServerAway: while the API server is away what was known stays, one fault
// is told, and what happened meanwhile is seen after.
func TestServerAway(t *testing.T) {
	s := kubetest.Shared(t)
	c := newCluster(t, s.Admin())
	c.each(t, 2, c.join)
	f := follow(t, nodes.Config{Client: s.Admin(), Wanted: wanted})
	f.Await(t, "first snapshot", func(s nodes.Snapshot) bool { return len(s.Nodes) == 2 })
	s.Kill()
	f.AwaitFault(t, "fault", Ill)
	s.Restart(t)
	c.do(t, c.publish(t.Context(), 0, map[string]any{"percale.io/subnets": "10.99.0.0/24"}))
	got := f.Await(t, "what came since", func(s nodes.Snapshot) bool { return subnetsOf(s, nodeName(0)) == "10.99.0.0/24" })
	f.AwaitFault(t, "end of the fault", Well)
	if told := f.Told(); len(told) != 2 || got.Rewound {
		t.Errorf("%d snapshots, rewound %v; want 2 of one history", len(told), got.Rewound)
	}
}

// wanted is what the tests' watchers keep.
func wanted(key string) bool { return strings.HasPrefix(key, "percale.io/") }

// follow watches the Nodes of a server.
func follow(t *testing.T, cfg nodes.Config) *Follower[nodes.Snapshot] {
	t.Helper()
	w, err := nodes.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return Follow(t, w.Run)
}

// subnetsOf returns what a snapshot says under the annotation of the tests.
func subnetsOf(s nodes.Snapshot, name string) string {
	return s.Nodes[name].Annotations["percale.io/subnets"]
}

// flannelNode tells a node that flannel alone runs on.
func flannelNode(n nodes.Node) bool {
	return n.Annotations["flannel.alpha.coreos.com/kube-subnet-manager"] == "true" && n.Annotations["percale.io/subnets"] == ""
}

// TestServerFlannel: pod CIDRs are read of flannel's nodes alone, few or many,
// also where they are assigned late; and no node vanishes when it changes from
// one agent to the other.
func TestServerFlannel(t *testing.T) {
	s := kubetest.Shared(t)
	c := newCluster(t, s.Admin())
	const n = 12 // more than are read one by one
	c.each(t, n, c.join)
	leave := func(i int) error { return c.publish(t.Context(), i, map[string]any{"percale.io/subnets": nil}) }
	back := func(i int) error {
		return c.publish(t.Context(), i, map[string]any{"percale.io/subnets": "10.99.0.0/24"})
	}
	c.do(t, leave(0))
	f := follow(t, nodes.Config{Client: s.Admin(), NeedWhole: flannelNode, Wanted: wantedByAll})
	cidrs := func(s nodes.Snapshot, i int) string { return strings.Join(s.Nodes[nodeName(i)].PodCIDRs, ",") }
	f.Await(t, "first snapshot", func(s nodes.Snapshot) bool { return cidrs(s, 0) == "10.64.0.0/24" && cidrs(s, 1) == "" })
	c.do(t, leave(1))
	f.Await(t, "second flannel node", func(s nodes.Snapshot) bool { return cidrs(s, 1) == "10.64.1.0/24" })
	c.do(t, back(0))
	f.Await(t, "node that is Percale's again", func(s nodes.Snapshot) bool { return subnetsOf(s, nodeName(0)) == "10.99.0.0/24" })
	c.do(t, c.kubelet.Post().Resource("nodes").Body(kubeletNode(n)).Do(t.Context()).Error())
	c.do(t, c.publish(t.Context(), n, map[string]any{"flannel.alpha.coreos.com/kube-subnet-manager": "true"}))
	f.Await(t, "node without pod CIDRs", func(s nodes.Snapshot) bool { return s.Nodes[nodeName(n)].Whole && cidrs(s, n) == "" })
	c.do(t, patch(t.Context(), c.manager, nodeName(n), "", map[string]any{
		"spec": map[string]any{"podCIDR": "10.77.0.0/24", "podCIDRs": []string{"10.77.0.0/24"}},
	}))
	f.Await(t, "pod CIDRs assigned late", func(s nodes.Snapshot) bool { return cidrs(s, n) == "10.77.0.0/24" })

	s.Kill() // and all of them at once, as to who starts anew
	f.AwaitFault(t, "fault", Ill)
	s.Restart(t)
	c.each(t, n, func(_ context.Context, i int) error { return leave(i) })
	f.Await(t, "all flannel nodes", func(s nodes.Snapshot) bool {
		for i := range n {
			if cidrs(s, i) == "" || subnetsOf(s, nodeName(i)) != "" {
				return false
			}
		}
		return true
	})
	for i, s := range f.Told() {
		for k := range n {
			if subnetsOf(s, nodeName(k)) == "" && cidrs(s, k) == "" {
				t.Errorf("snapshot %d: %s has neither the annotation nor pod CIDRs", i, nodeName(k))
			}
		}
	}
}

func TestServerOwn(t *testing.T) {
	s := kubetest.Shared(t)
	c := newCluster(t, s.Admin())
	c.do(t, c.join(t.Context(), 1)) // another node
	f := Follow(t, func(ctx context.Context, fn func(nodes.Own), fail func(error)) error {
		return nodes.WatchOwn(ctx, nodes.Config{Client: s.Admin(), Wanted: wanted}, nodeName(0), fn, fail)
	})
	f.Await(t, "absence", func(o nodes.Own) bool { return reflect.DeepEqual(o, nodes.Own{}) })
	c.do(t, c.join(t.Context(), 0))
	got := f.Await(t, "our Node", func(o nodes.Own) bool { return o.Exists && o.Annotations["percale.io/subnets"] != "" })
	ready := nodes.Condition{Type: "Ready", Status: "False", Reason: "KubeletReady", Message: "kubelet is posting ready status"}
	if !got.Whole || !slices.Equal(got.PodCIDRs, []string{"10.64.0.0/24"}) || !slices.Contains(got.Conditions, ready) || len(got.Oversize) != 0 {
		t.Errorf("our Node is %+v; want it whole, with 10.64.0.0/24 and %v", got, ready)
	}
	calls := len(f.Told())
	c.do(t, c.beat(t.Context(), 0))
	unavailable := map[string]any{"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute", "message": "none"}
	c.do(t, patch(t.Context(), c.agent, nodeName(0), "status", map[string]any{"status": map[string]any{"conditions": []any{unavailable}}}))
	f.Await(t, "condition", func(o nodes.Own) bool {
		return slices.Contains(o.Conditions, nodes.Condition{Type: "NetworkUnavailable", Status: "True", Reason: "NoRoute", Message: "none"})
	})
	if n := len(f.Told()) - calls; n != 1 {
		t.Errorf("%d calls; want 1, since a heartbeat changes nothing", n)
	}
	c.do(t, s.Resource(kubeapi.Nodes, "").Delete(t.Context(), nodeName(0), metav1.DeleteOptions{}))
	f.Await(t, "deletion", func(o nodes.Own) bool { return !o.Exists })
	c.do(t, c.join(t.Context(), 0))
	f.Await(t, "our new Node", func(o nodes.Own) bool { return o.Exists && o.UID != got.UID })
}

func (cluster) do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
