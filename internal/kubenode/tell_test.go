// SPDX-License-Identifier: Apache-2.0

package kubenode

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/kubetest"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// rights are those that the package says it needs.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: kubenode-test}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get]}
- {apiGroups: [""], resources: [nodes/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kubenode-test}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kubenode-test}
subjects: [{kind: ServiceAccount, name: percale, namespace: kube-percale}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: kubenode-test, namespace: default}
rules:
- {apiGroups: [""], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: kubenode-test, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: kubenode-test}
subjects: [{kind: ServiceAccount, name: percale, namespace: kube-percale}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: kubenode-test, namespace: kube-percale}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: kubenode-test, namespace: kube-percale}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: kubenode-test}
subjects: [{kind: ServiceAccount, name: percale, namespace: kube-percale}]
`

// A cluster is a real API server with the node n1, and us with our rights there.
type cluster struct {
	*kubetest.Server
	config *rest.Config
	teller *Teller
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Server: kubetest.Shared(t)}
	if err := c.CreateNode(t.Context(), kubeapi.Node{Name: "n1"}); err != nil {
		t.Fatal(err)
	}
	c.config = c.agent(t)
	if err := c.Apply(t.Context(), []byte(rights)); err != nil {
		t.Fatal(err)
	}
	c.teller = c.newTeller(t)
	probe := nodes.Own{Exists: true, Node: nodes.Node{Name: "n1", UID: "probe"}, Conditions: []nodes.Condition{up}}
	c.eventually(t, "the server knows our rights", func() bool {
		_, err := c.newTeller(t).Look(t.Context())
		_, patch := c.newTeller(t).Round(t.Context(), &probe, Facts{Alarms: []Alarm{{Fight, "probe"}}})
		return err == nil && patch == nil
	})
	return c
}

// eventually waits for what the server does.
func (c *cluster) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// agent returns what the flags of an agent on n1 make, by a kubeconfig.
func (c *cluster) agent(t *testing.T) *rest.Config {
	t.Helper()
	token, err := c.NodeToken(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config, err := (*rest.Config)(nil), errors.Join(os.WriteFile(path+".token", []byte(token), 0o600), c.Kubeconfig(path, path+".token"))
	if err == nil {
		config, err = Client("", path, "v1")
	}
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func (c *cluster) newTeller(t *testing.T) *Teller {
	t.Helper()
	teller, err := NewTeller(c.config, "n1", NewStory(true), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return teller
}

// round looks at the Node and tells of it.
func (c *cluster) round(t *testing.T, f Facts) error {
	t.Helper()
	own, err := c.teller.Look(t.Context())
	if err != nil {
		return err
	}
	_, err = c.teller.Round(t.Context(), &own, f)
	return err
}

func (c *cluster) mustRound(t *testing.T, f Facts) {
	t.Helper()
	if err := c.round(t, f); err != nil {
		t.Fatal(err)
	}
}

// condition returns one of the Node's, and when it changed.
func (c *cluster) condition(t *testing.T, kind string) (text, at string) {
	t.Helper()
	n, err := c.Resource(kubeapi.Nodes, "").Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := unstructured.NestedSlice(n.Object, "status", "conditions")
	if err != nil || len(all) < 4 {
		t.Fatalf("conditions = %v, %v; want the kubelet's to stay", all, err)
	}
	for _, one := range all {
		if m := one.(map[string]any); m["type"] == kind {
			return fmt.Sprintf("%s %s: %s", m["status"], m["reason"], m["message"]), fmt.Sprint(m["lastTransitionTime"])
		}
	}
	return "", ""
}

func (c *cluster) wantCondition(t *testing.T, kind, want string) {
	t.Helper()
	if got, _ := c.condition(t, kind); got != want {
		t.Errorf("%s = %q; want %q", kind, got, want)
	}
}

// events lists the Events about the Node, as "type reason xcount: message".
func (c *cluster) events(t *testing.T) (all []string) {
	t.Helper()
	n, err := c.Resource(kubeapi.Nodes, "").Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Resource(kubeapi.Events, "default").List(t.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Node,involvedObject.name=n1,involvedObject.uid=" + string(n.GetUID()),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		o := e.Object
		if source, _, _ := unstructured.NestedString(o, "source", "component"); source == component {
			all = append(all, fmt.Sprintf("%s %s x%v: %s", o["type"], o["reason"], o["count"], o["message"]))
		}
	}
	slices.Sort(all)
	return all
}

var clusterRoleBindings = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}

const upText = "False PercaleIsUp: The ways to this node's peers are in its kernel"

func TestConditionsAndEvents(t *testing.T) {
	c := newCluster(t)
	full := Facts{Usage: []Usage{{Used: 253, Total: 253, Text: "subnet 10.42.7.0/24 is full: 253 of 253 used; biggest users: web 200"}}}
	c.mustRound(t, full)
	c.wantCondition(t, NetworkUnavailable, upText)
	c.wantCondition(t, PodSubnetExhausted, "True PodSubnetFull: "+full.Usage[0].Text)
	before := c.requests(t)
	for range 3 {
		c.mustRound(t, full)
	}
	if after := c.requests(t); after != before {
		t.Errorf("%d patches and creations, and %d once all was told; want no more", before, after)
	}

	// An agent that starts again is another teller, and says nothing new.
	c.teller = c.newTeller(t)
	c.mustRound(t, full)
	if after := c.requests(t); after != before {
		t.Errorf("%d patches and creations, and %d after a restart; want no more", before, after)
	}

	c.mustRound(t, Facts{Usage: []Usage{{Used: 1, Total: 253}}})
	c.mustRound(t, full)
	want := []string{
		"Normal PercaleIsUp x1: The ways to this node's peers are in its kernel",
		"Normal PodSubnetHasRoom x1: This node has addresses left for pods",
		"Warning PodSubnetFull x1: " + full.Usage[0].Text,
		"Warning PodSubnetFull x1: " + full.Usage[0].Text, // of the agent before it started again
	}
	if got := c.events(t); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c.mustRound(t, Facts{Usage: []Usage{{Used: 1, Total: 253}}})
	if got := c.events(t); len(got) != len(want) || !strings.HasPrefix(got[1], "Normal PodSubnetHasRoom x2") {
		t.Errorf("events:\n%s\nwant the second counted up", strings.Join(got, "\n"))
	}
}

// requests counts what we changed, by what the server wrote down.
func (c *cluster) requests(t *testing.T) (n int) {
	t.Helper()
	all, err := c.Requests()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if strings.Contains(r.User, ":percale") && r.Verb != "get" {
			n++
		}
	}
	return n
}

// What a cloud's controller writes is set right, and the time of the last change
// tells when it was.
func TestConditionIsSetBack(t *testing.T) {
	c := newCluster(t)
	c.mustRound(t, Facts{})
	_, first := c.condition(t, NetworkUnavailable)
	patch := func(text string) {
		t.Helper()
		_, err := c.Resource(kubeapi.Nodes, "").Patch(t.Context(), "n1", "application/strategic-merge-patch+json",
			[]byte(`{"status":{"conditions":[`+text+`]}}`), metav1.PatchOptions{}, "status")
		if err != nil {
			t.Fatal(err)
		}
	}
	patch(`{"type":"NetworkUnavailable","status":"False","reason":"RouteCreated","lastTransitionTime":"` + first + `"}`)
	c.mustRound(t, Facts{})
	c.wantCondition(t, NetworkUnavailable, upText)
	if _, at := c.condition(t, NetworkUnavailable); at != first {
		t.Errorf("lastTransitionTime = %s; want %s, as the status did not change", at, first)
	}
	old := "2020-01-01T00:00:00Z"
	patch(`{"type":"NetworkUnavailable","status":"True","reason":"NoRouteCreated","lastTransitionTime":"` + old + `"}`)
	c.mustRound(t, Facts{})
	c.wantCondition(t, NetworkUnavailable, upText)
	if _, at := c.condition(t, NetworkUnavailable); at == old {
		t.Error("lastTransitionTime stayed though the status changed")
	}
	if got := c.events(t); len(got) != 1 {
		t.Errorf("events:\n%s\nwant the first one alone, since the network was never down", strings.Join(got, "\n"))
	}
}

func TestNodeIsDeletedAndMadeAnew(t *testing.T) {
	c := newCluster(t)
	c.mustRound(t, Facts{})
	gone, err := c.teller.Look(t.Context())
	if err := errors.Join(err, c.DeleteNode(t.Context(), "n1")); err != nil {
		t.Fatal(err)
	}
	gone.Conditions = nil
	if _, err := c.teller.Round(t.Context(), &gone, Facts{}); err != nil {
		t.Errorf("Round before the watch told that the node is gone = %v; want nothing wrong", err)
	}
	c.mustRound(t, Facts{})
	if err := c.CreateNode(t.Context(), kubeapi.Node{Name: "n1"}); err != nil {
		t.Fatal(err)
	}
	c.mustRound(t, Facts{})
	c.wantCondition(t, NetworkUnavailable, upText)
}

// Trouble with an API server that is away is told once it is back.
func TestToldWhenTheServerIsBack(t *testing.T) {
	c := newCluster(t)
	c.mustRound(t, Facts{})
	own, err := c.teller.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Kill()
	full := Facts{Usage: []Usage{{Used: 2, Total: 2, Text: "full"}}}
	for range 3 {
		if _, err := c.teller.Round(t.Context(), &own, full); err == nil {
			t.Error("Round without a server = nil; want an error")
		}
	}
	c.Restart(t)
	c.eventually(t, "it is told", func() bool { return c.round(t, full) == nil })
	c.wantCondition(t, PodSubnetExhausted, "True PodSubnetFull: full")
	if got := c.events(t); len(got) != 2 || got[1] != "Warning PodSubnetFull x1: full" {
		t.Errorf("events:\n%s\nwant one of each kind", strings.Join(got, "\n"))
	}
}

func TestRightsAreMissing(t *testing.T) {
	c := newCluster(t)
	c.teller.node = "n2" // of which nothing is known to be ours
	own := nodes.Own{Exists: true, Node: nodes.Node{Name: "n2", UID: "u"}}
	if err := c.Resource(clusterRoleBindings, "").Delete(t.Context(), "kubenode-test", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually(t, "the server knows that we have none", func() bool { _, err := c.teller.Look(t.Context()); return err != nil })
	_, err := c.teller.Round(t.Context(), &own, Facts{})
	if err == nil || !strings.Contains(err.Error(), `cannot patch resource "nodes/status"`) || !strings.Contains(err.Error(), "kubectl apply -f") {
		t.Errorf("Round without rights = %v; want what is forbidden, and what helps", err)
	}
}

func TestNodeName(t *testing.T) {
	c := newCluster(t)
	pod := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "percale-x", "namespace": kubeapi.Namespace},
		"spec": map[string]any{"nodeName": "n1", "serviceAccountName": kubeapi.ServiceAccount, "containers": []any{map[string]any{"name": "c", "image": "i"}}},
	}}
	if _, err := c.Resource(kubeapi.Pods, kubeapi.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  map[string]string
		want string // a name, or part of an error
	}{
		{map[string]string{"NODE_NAME": "n7", "POD_NAME": "x"}, "n7"},
		{map[string]string{"POD_NAMESPACE": kubeapi.Namespace, "POD_NAME": "percale-x"}, "n1"},
		{map[string]string{"POD_NAMESPACE": kubeapi.Namespace, "POD_NAME": "gone"}, `"gone" not found`},
		{map[string]string{"POD_NAMESPACE": kubeapi.Namespace, "POD_NAME": "../../nodes/n1"}, "fieldRef"},
		{map[string]string{"POD_NAME": "percale-x"}, "want NODE_NAME"},
		{nil, "want NODE_NAME"},
	} {
		name, err := NodeName(t.Context(), c.config, func(k string) string { return tt.env[k] })
		if err == nil && name != tt.want || err != nil && (!strings.Contains(err.Error(), tt.want) || name != "") {
			t.Errorf("NodeName(%v) = %q, %v; want %q", tt.env, name, err, tt.want)
		}
	}
}
