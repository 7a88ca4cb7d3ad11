// SPDX-License-Identifier: Apache-2.0

package nodestest

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/kubetest"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

const namespaceYAML = `
apiVersion: v1
kind: Namespace
metadata: {name: kube-percale}
`

// TestServerRecords: records stand for their Nodes, others are seen as ever, and
// no node vanishes while it changes from one to the other; what a kubelet says
// of a Node with a record is not even sent.
func TestServerRecords(t *testing.T) {
	s := kubetest.Shared(t)
	c := newCluster(t, s.Admin())
	c.do(t, s.Apply(t.Context(), []byte(namespaceYAML)))
	c.each(t, 3, c.join)
	put := func(i int, subnet string) {
		t.Helper()
		c.do(t, c.record(t.Context(), s, i, map[string]string{"percale.io/subnets": subnet, "other": "x"}))
	}
	put(0, "record-0")
	cfg, received := counted(s.Admin())
	f := follow(t, nodes.Config{Client: cfg, Wanted: wanted, Records: testRecords})
	first := f.Await(t, "first snapshot", func(s nodes.Snapshot) bool { return len(s.Nodes) == 3 })
	uid := first.Nodes[nodeName(0)].UID
	if n := first.Nodes[nodeName(0)]; !n.Record || n.Annotations["percale.io/subnets"] != "record-0" || len(n.Annotations) != 1 || uid == "" {
		t.Errorf("node with a record = %+v; want what that says, and its Node's UID", n)
	}
	if n := first.Nodes[nodeName(1)]; n.Record || n.Annotations["percale.io/subnets"] != "10.64.1.0/24" {
		t.Errorf("node without a record = %+v; want what its Node says", n)
	}
	put(1, "record-1")
	put(2, "record-2")
	f.Await(t, "records", func(s nodes.Snapshot) bool {
		return subnetsOf(s, nodeName(1)) == "record-1" && subnetsOf(s, nodeName(2)) == "record-2"
	})

	put(0, "before")
	f.Await(t, "change before", func(s nodes.Snapshot) bool { return subnetsOf(s, nodeName(0)) == "before" })
	start := received.Load()
	for range 20 {
		c.each(t, 3, c.beat)
	}
	put(0, "after")
	f.Await(t, "change after", func(s nodes.Snapshot) bool { return subnetsOf(s, nodeName(0)) == "after" })
	if n := received.Load() - start; n > 8<<10 {
		t.Errorf("%d bytes came for 60 updates of kubelets and a change of a record; want those of the change", n)
	}

	c.do(t, c.label(t.Context(), 0, nil)) // back to the Node
	leases := s.Resource(kubeapi.Leases, kubeapi.Namespace)
	c.do(t, leases.Delete(t.Context(), nodes.RecordName(nodeName(0)), metav1.DeleteOptions{}))
	f.Await(t, "node without a record again", func(s nodes.Snapshot) bool { return subnetsOf(s, nodeName(0)) == "10.64.0.0/24" })
	c.do(t, s.DeleteNode(t.Context(), nodeName(1)))
	f.Await(t, "deletion by the garbage collection", func(s nodes.Snapshot) bool { return len(s.Nodes) == 2 && s.Nodes[nodeName(1)].Name == "" })
	for i, s := range f.Told() {
		if s.Nodes[nodeName(0)].UID != uid || s.Nodes[nodeName(2)].Name == "" {
			t.Errorf("snapshot %d lacks a node", i)
		}
	}
}
