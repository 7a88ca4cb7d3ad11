// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/kubetest"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
	"github.com/percale-net/percale/subnet/storetest"
)

// A scene is a cluster, with the store of its node n7 watched.
type scene struct {
	*testing.T
	*kubetest.Server
	store *Store
	watch *storetest.Watcher
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, Server: kubetest.Shared(t)}
	s.must(s.Apply(t.Context(), []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-percale}\n")))
	var err error
	s.store, err = Open(Config{Client: s.Admin(), Node: "n7"})
	s.must(err)
	return s
}

// begin watches, when what is to be there first is there.
func (s *scene) begin() { s.watch = storetest.StartWatch(s.T, s.store) }

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) create(name string, cidrs ...string) {
	s.Helper()
	n := kubeapi.Node{Name: name}
	for _, text := range cidrs {
		n.PodCIDRs = append(n.PodCIDRs, netip.MustParsePrefix(text))
	}
	s.must(s.CreateNode(s.Context(), n))
}

// annotate changes annotations of a Node as somebody else would; "" removes one.
func (s *scene) annotate(node string, changes map[string]string) {
	s.Helper()
	set := make(map[string]any)
	for key, text := range changes {
		if set[key] = any(text); text == "" {
			set[key] = nil
		}
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": set}})
	s.must(err)
	_, err = s.Resource(kubeapi.Nodes, "").Patch(s.Context(), node, types.MergePatchType, body, metav1.PatchOptions{})
	s.must(err)
}

func (s *scene) await(what string, ok func(subnet.Snapshot) bool) subnet.Snapshot {
	s.Helper()
	return s.watch.Await(s.T, what, ok)
}

func has(l subnet.Lease) func(subnet.Snapshot) bool {
	return func(s subnet.Snapshot) bool { return slices.Contains(s.Leases, l) && !s.Own.Amiss }
}

// publish publishes and waits until that is seen.
func (s *scene) publish(l subnet.Lease) {
	s.Helper()
	if _, err := s.store.Publish(s.Context(), l); err != nil {
		s.Fatal(err)
	}
	s.await("our lease", has(l))
}

// The annotations of our Node are a state to be kept: whatever becomes of them,
// the watch tells, and Publish mends it.
func TestOwnNode(t *testing.T) {
	s := newScene(t)
	s.create("n7", "10.3.7.0/24")
	s.begin()
	first := s.await("the pod CIDR", func(s subnet.Snapshot) bool { return s.Own.Assigned.Given() })
	if want := (subnet.Assigned{V4: netip.MustParsePrefix("10.3.7.0/24")}); first.Own.Assigned != want {
		t.Errorf("assigned %+v; want %+v", first.Own.Assigned, want)
	}
	l := storetest.Lease("n7", 7)
	s.publish(l)

	// Lost, in part and whole.
	s.annotate("n7", map[string]string{keySubnets: ""})
	s.await("what is amiss", func(s subnet.Snapshot) bool { return s.Own.Amiss })
	s.publish(l)
	s.annotate("n7", map[string]string{flannel + "kube-subnet-manager": "", flannel + "backend-data": "{}"})
	s.await("the loss", func(s subnet.Snapshot) bool { return !slices.ContainsFunc(s.Leases, named("n7")) })
	s.publish(l)

	// What an operator writes is told, and is not ours to remove.
	over := netip.MustParseAddr("203.0.113.7")
	s.annotate("n7", map[string]string{flannel + "public-ip-overwrite": over.String(), flannel + "node-public-ip": "x"})
	seen := s.await("the address", func(s subnet.Snapshot) bool { return s.Own.V4.Overwrite == over && len(s.Refused) == 1 })
	if r := seen.Refused[0]; r.Node != "n7" || r.Lease != flannel+"node-public-ip" {
		t.Errorf("refused %+v; want what is no address", r)
	}
	l.V4.Uplink = over
	s.publish(l)
	s.annotate("n7", map[string]string{flannel + "public-ip-overwrite": ""})
	s.await("no address", func(s subnet.Snapshot) bool { return s.Own.V4.Overwrite == netip.Addr{} })

	// Another Node of the name.
	s.must(s.DeleteNode(t.Context(), "n7"))
	s.await("no Node", func(s subnet.Snapshot) bool {
		return strings.Contains(s.Own.Assigned.Pending, "no Node n7") && len(s.Leases) == 0
	})
	if _, err := s.store.Publish(t.Context(), l); err == nil || !strings.Contains(err.Error(), "kubectl get nodes") {
		t.Errorf("Publish without a Node: %v; want an error with its remedy", err)
	}
	s.create("n7")
	s.await("waiting", func(s subnet.Snapshot) bool { return strings.Contains(s.Own.Assigned.Pending, "had one before") })
	s.publish(l) // as an agent with pods does
	if got := s.annotation("n7", keySource); got != sourceKept {
		t.Errorf("source %q; want %q", got, sourceKept)
	}
}

func named(node string) func(subnet.Lease) bool {
	return func(l subnet.Lease) bool { return l.Node == node }
}

func (s *scene) annotation(node, key string) string {
	s.Helper()
	o, err := s.Resource(kubeapi.Nodes, "").Get(s.Context(), node, metav1.GetOptions{})
	s.must(err)
	return o.GetAnnotations()[key]
}

// Annotations are written where they differ, and not else: each write goes to
// every other agent.
func TestPublishWritesDifferencesOnly(t *testing.T) {
	s := newScene(t)
	s.create("n7", "10.3.7.0/24")
	s.annotate("n7", map[string]string{"example.com/other": "stays"})
	l := storetest.Lease("n7", 7)
	version := func() string {
		o, err := s.Resource(kubeapi.Nodes, "").Get(t.Context(), "n7", metav1.GetOptions{})
		s.must(err)
		return o.GetResourceVersion()
	}
	publish := func(l subnet.Lease) {
		t.Helper()
		_, err := s.store.Publish(t.Context(), l)
		s.must(err)
	}
	publish(l)
	before := version()
	publish(l)
	if now := version(); now != before {
		t.Errorf("the Node's version was %s and is %s; want nothing written", before, now)
	}
	l.V4.Uplink = netip.MustParseAddr("192.168.0.99")
	publish(l)
	if now := version(); now == before || s.annotation("n7", flannel+"public-ip") != "192.168.0.99" || s.annotation("n7", "example.com/other") != "stays" {
		t.Errorf("version %s before, %s now; want the address written, and nothing else touched", before, now)
	}
	s.must(s.store.Release(t.Context(), l))
	if s.annotation("n7", keySubnets) != "" || s.annotation("n7", "example.com/other") != "stays" {
		t.Error("Release leaves our annotations, or takes others")
	}
}

// A flannel node is a peer, with the subnet of its spec.
func TestFlannelPeer(t *testing.T) {
	s := newScene(t)
	s.create("n7", "10.3.7.0/24")
	s.create("n8", "10.3.8.0/24")
	want := storetest.Lease("n8", 8)
	a := usualKeys(t).encode(want, sourceCluster)
	delete(a, keySubnets)
	delete(a, keySource)
	s.annotate("n8", a)
	s.begin()
	s.await("the peer", has(want))
	// It becomes one of ours, which says another subnet than its spec does.
	s.annotate("n8", map[string]string{keySubnets: "10.3.9.0/24"})
	seen := s.await("a refusal", func(s subnet.Snapshot) bool { return len(s.Refused) == 1 })
	if r := seen.Refused[0]; r.Node != "n8" || r.Lease != keySubnets || len(seen.Leases) != 0 {
		t.Errorf("refused %+v of %+v; want the claim, which the spec contradicts", r, seen.Leases)
	}
	s.annotate("n8", map[string]string{keySubnets: ""})
	s.await("the peer", has(want))
	s.must(s.DeleteNode(t.Context(), "n8"))
	s.await("no peer", func(s subnet.Snapshot) bool { return !slices.ContainsFunc(s.Leases, named("n8")) })
}

// Without pod CIDRs, Lease objects keep nodes apart that do not see each other
// yet, and go with their Nodes.
func TestClaims(t *testing.T) {
	s := newScene(t)
	s.create("n7")
	s.create("n2")
	s.create("n3")
	two, err := Open(Config{Client: s.Admin(), Node: "n2"})
	s.must(err)
	_, err = two.Publish(t.Context(), storetest.Lease("n2", 2))
	s.must(err)
	three, err := Open(Config{Client: s.Admin(), Node: "n3"})
	s.must(err)
	_, err = three.Publish(t.Context(), storetest.Lease("n3", 3))
	s.must(err)
	s.annotate("n3", map[string]string{flannel + "kube-subnet-manager": ""}) // it holds a subnet and does not say so
	s.merge("Node", "n3", metadata("labels", map[string]any{labelRecord: nil}))
	s.begin()
	held := subnet.Lease{V4: subnet.Endpoint{Subnet: netip.MustParsePrefix("10.3.3.0/24")}}
	s.await("who holds what", func(s subnet.Snapshot) bool {
		return s.Own.Assigned == subnet.Assigned{} && slices.Equal(s.Leases, []subnet.Lease{storetest.Lease("n2", 2), held})
	})
	for _, n := range []byte{2, 3} {
		if _, err := s.store.Publish(t.Context(), storetest.Lease("n7", n)); !errors.Is(err, subnet.ErrTaken) {
			t.Errorf("Publish of another's subnet: %v; want ErrTaken", err)
		}
	}
	l := storetest.Lease("n7", 7)
	s.publish(l)

	// A node that lost its annotations finds what it holds.
	s.annotate("n7", usualKeys(t).none())
	s.await("our claim", func(s subnet.Snapshot) bool {
		return slices.Contains(s.Leases, subnet.Lease{Node: "n7", V4: subnet.Endpoint{Subnet: l.V4.Subnet}})
	})
	s.publish(l)

	// The Node's next one holds it, too, before the former's claim is collected
	// or after.
	s.must(s.DeleteNode(t.Context(), "n7"))
	s.await("no Node", func(s subnet.Snapshot) bool { return s.Own.Assigned.Pending != "" })
	s.create("n7")
	s.await("the Node", func(s subnet.Snapshot) bool { return s.Own.Assigned == subnet.Assigned{} })
	s.publish(l)
	o, err := s.Resource(kubeapi.Nodes, "").Get(t.Context(), "n7", metav1.GetOptions{})
	s.must(err)
	c, err := s.store.readClaim(t.Context(), claimName(l.V4.Subnet))
	if err != nil || !c.ownedBy(string(o.GetUID())) {
		t.Errorf("claim %+v, %v; want it owned by the Node that is", c, err)
	}

	// What the cluster assigns comes first; then the claim goes.
	s.assign("n7", "10.3.9.0/24")
	s.await("the pod CIDR", func(s subnet.Snapshot) bool { return s.Own.Assigned.V4 == netip.MustParsePrefix("10.3.9.0/24") })
	s.publish(storetest.Lease("n7", 9))
	s.must(s.store.Release(t.Context(), l))
	if _, err := s.store.readClaim(t.Context(), claimName(l.V4.Subnet)); !apierrors.IsNotFound(err) {
		t.Errorf("claim of a subnet that is released: %v; want none", err)
	}
	if got := s.annotation("n7", keySubnets); got != "10.3.9.0/24" {
		t.Errorf("Release of an old subnet leaves %q; want the new one published", got)
	}
}

// A Lease object that is deleted comes back while its subnet is ours, with no
// other news to tell of it.
func TestClaimLost(t *testing.T) {
	s := newScene(t)
	var err error
	s.store, err = Open(Config{Client: s.Admin(), Node: "n7", Look: 2 * time.Second})
	s.must(err)
	s.create("n7")
	s.create("n2")
	s.annotate("n2", usualKeys(t).encode(storetest.Lease("n2", 2), sourceLease))
	s.begin()
	s.await("that we lease", func(s subnet.Snapshot) bool { return s.Own.Assigned == subnet.Assigned{} })
	l := storetest.Lease("n7", 7)
	s.publish(l)
	name := claimName(l.V4.Subnet)
	s.must(s.Resource(kubeapi.Leases, kubeapi.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	s.await("the loss", amiss)
	s.publish(l)
	if c, err := s.store.readClaim(t.Context(), name); err != nil || c.Spec.Holder != "n7" {
		t.Errorf("claim %+v, %v; want it ours", c, err)
	}
}

// What a Node publishes keeps no other waiting for a pod CIDR: that it has one
// itself is read in its spec.
func TestFalseWitness(t *testing.T) {
	s := newScene(t)
	s.create("n7")
	s.create("n2")
	s.create("n3")
	k := usualKeys(t)
	s.annotate("n2", k.encode(storetest.Lease("n2", 2), sourceCluster))
	s.annotate("n3", k.encode(storetest.Lease("n3", 3), sourceLease))
	s.begin()
	s.await("that we lease", func(s subnet.Snapshot) bool { return s.Own.Assigned == subnet.Assigned{} })
	s.create("n1", "10.3.1.0/24")
	s.annotate("n1", k.encode(storetest.Lease("n1", 1), sourceCluster))
	s.await("who is right", func(s subnet.Snapshot) bool { return strings.Contains(s.Own.Assigned.Pending, "Node n1") })
}

// assign does what the remedy says.
func (s *scene) assign(node, cidr string) {
	s.Helper()
	body := []byte(`{"spec":{"podCIDRs":["` + cidr + `"]}}`)
	_, err := s.Resource(kubeapi.Nodes, "").Patch(s.Context(), node, types.MergePatchType, body, metav1.PatchOptions{})
	s.must(err)
}

// none is what removes all annotations that we write.
func (k keys) none() map[string]string {
	all := make(map[string]string)
	for _, key := range k.published {
		all[key] = ""
	}
	return all
}

// Own Nodes are told to who asks for them, and an API server that is away is
// told once, and that it is back.
func TestAway(t *testing.T) {
	s := newScene(t)
	s.create("n7", "10.3.7.0/24")
	told := make(chan nodes.Own, 100)
	var err error
	s.store, err = Open(Config{Client: s.Admin(), Node: "n7", Own: func(o nodes.Own) { told <- o }})
	s.must(err)
	s.begin()
	if o := <-told; !o.Exists || !slices.Equal(o.PodCIDRs, []string{"10.3.7.0/24"}) {
		t.Errorf("told %+v of our Node; want it, with its pod CIDR", o)
	}
	l := storetest.Lease("n7", 7)
	s.publish(l)
	s.Kill()
	s.watch.AwaitFault(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.store.Publish(ctx, l); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish = %v; want the context's error", err)
	}
	if _, err := s.store.Publish(t.Context(), l); err == nil || errors.Is(err, subnet.ErrTaken) {
		t.Errorf("Publish without API server = %v; want an error of its own", err)
	}
	s.Restart(t)
	s.store.Reconnect()
	s.watch.AwaitFault(t, true)
	l.V4.Uplink = netip.MustParseAddr("192.168.0.99")
	s.publish(l)
}
