// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
	"github.com/percale-net/percale/subnet/storetest"
)

// merge changes an object as an administrator does.
func (s *scene) merge(kind string, name string, change map[string]any) {
	s.Helper()
	at := s.Resource(kubeapi.Nodes, "")
	if kind == "Lease" {
		at = s.Resource(kubeapi.Leases, kubeapi.Namespace)
	}
	body, err := json.Marshal(change)
	s.must(err)
	_, err = at.Patch(s.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	s.must(err)
}

func metadata(key string, value map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{key: value}}
}

// wantRecord wants the Node n7 to bear the label, and its record to say what the
// Node says of its lease, and nothing else.
func (s *scene) wantRecord(what string) {
	s.Helper()
	n, err := s.Resource(kubeapi.Nodes, "").Get(s.Context(), "n7", metav1.GetOptions{})
	s.must(err)
	r, err := s.Resource(kubeapi.Leases, kubeapi.Namespace).Get(s.Context(), nodes.RecordName("n7"), metav1.GetOptions{})
	s.must(err)
	want := n.GetAnnotations()
	maps.DeleteFunc(want, func(key, _ string) bool { return !s.store.keys.lease(key) })
	owners, label := r.GetOwnerReferences(), map[string]string{labelRecord: yes}
	if !maps.Equal(r.GetAnnotations(), want) || want[keySubnets] == "" || !maps.Equal(r.GetLabels(), label) ||
		n.GetLabels()[labelRecord] != yes || len(owners) != 1 || owners[0].UID != n.GetUID() || fmt.Sprint(r.Object["spec"]) != "map[holderIdentity:n7]" {
		s.Errorf("%s: record %v of Node with %v; want it to say %v", what, r.Object, n.GetLabels(), want)
	}
}

func amiss(s subnet.Snapshot) bool { return s.Own.Amiss }

// The record and the label of our Node are a state to be kept. Whatever becomes of
// them, the watch tells, Publish mends it, and no peer loses sight of the node.
func TestOwnRecord(t *testing.T) {
	s := newScene(t)
	s.create("n7", "10.3.7.0/24")
	peer, err := Open(Config{Client: s.Admin(), Node: "n2"})
	s.must(err)
	s.begin()
	l := storetest.Lease("n7", 7)
	s.publish(l)
	s.wantRecord("published")
	seen := storetest.StartWatch(t, peer)
	seen.Await(t, "the peer", has(l))
	name := nodes.RecordName("n7")
	for _, c := range []struct {
		what string
		harm func()
	}{
		{"label lost", func() { s.merge("Node", "n7", metadata("labels", map[string]any{labelRecord: nil})) }},
		{"record deleted", func() {
			s.must(s.Resource(kubeapi.Leases, kubeapi.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
		}},
		{"record without its label", func() { s.merge("Lease", name, metadata("labels", map[string]any{labelRecord: nil})) }},
		{"record lacks something", func() { s.merge("Lease", name, metadata("annotations", map[string]any{keySource: nil})) }},
	} {
		c.harm()
		s.await(c.what, amiss)
		s.publish(l)
		s.wantRecord(c.what)
	}
	l.V4.Uplink = netip.MustParseAddr("192.168.0.99")
	s.publish(l)
	s.wantRecord("changed")
	seen.Await(t, "the change", has(l))
	for i, told := range seen.Snapshots() {
		if !slices.ContainsFunc(told.Leases, named("n7")) && i > 0 {
			t.Errorf("snapshot %d of %d lacks n7", i, len(seen.Snapshots()))
		}
	}
	before := len(seen.Snapshots())

	s.must(s.DeleteNode(t.Context(), "n7"))
	s.create("n7", "10.3.7.0/24")
	s.await("the new Node", func(s subnet.Snapshot) bool { return !slices.Contains(s.Leases, l) })
	s.publish(l)
	s.wantRecord("of the new Node")

	s.must(s.store.Release(t.Context(), l))
	seen.Await(t, "the release", func(s subnet.Snapshot) bool { return len(s.Leases) == 0 })
	if _, err := s.store.readClaim(t.Context(), name); !apierrors.IsNotFound(err) {
		t.Errorf("record of a node that has released its lease: %v; want none", err)
	}
	n, err := s.Resource(kubeapi.Nodes, "").Get(t.Context(), "n7", metav1.GetOptions{})
	s.must(err)
	if _, labelled := n.GetLabels()[labelRecord]; labelled || before == 0 {
		t.Errorf("labels %v; want that of the record gone", n.GetLabels())
	}
}

// What a Node says counts where its record is left behind, as by a node that went
// back to flannel, or is lost with nobody to mend it.
func TestPeerLeftItsRecord(t *testing.T) {
	s := newScene(t)
	var err error
	s.store, err = Open(Config{Client: s.Admin(), Node: "n7", Look: 2 * time.Second})
	s.must(err)
	s.create("n7", "10.3.7.0/24")
	for i := range byte(2) {
		name := fmt.Sprintf("n%d", 8+i)
		s.create(name, fmt.Sprintf("10.3.%d.0/24", 8+i))
		peer, err := Open(Config{Client: s.Admin(), Node: name})
		s.must(err)
		_, err = peer.Publish(t.Context(), storetest.Lease(name, 8+i))
		s.must(err)
	}
	eight, nine := storetest.Lease("n8", 8), storetest.Lease("n9", 9)
	s.begin()
	s.await("the peers", func(s subnet.Snapshot) bool {
		return slices.Contains(s.Leases, eight) && slices.Contains(s.Leases, nine)
	})
	eight.V4.Data = strings.Replace(eight.V4.Data, "0e", "0a", 1)
	eight.V4.Uplink = netip.MustParseAddr("192.168.0.88")
	s.annotate("n8", map[string]string{flannel + "public-ip": "192.168.0.88", flannel + "backend-data": eight.V4.Data, keySubnets: ""})
	s.must(s.Resource(kubeapi.Leases, kubeapi.Namespace).Delete(t.Context(), nodes.RecordName("n9"), metav1.DeleteOptions{}))
	s.await("what n8 says", has(eight))
	for i, told := range s.watch.Snapshots() {
		if i > 0 && len(told.Leases) != 2 {
			t.Errorf("snapshot %d has %v; want both peers", i, told.Leases)
		}
	}
}
