// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/labtest"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// n1 is a node with a pod range.
var n1 = kubeapi.Node{
	Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")},
}

// reader lets the agents' account read nodes.
const reader = `
apiVersion: v1
kind: Namespace
metadata: {name: kube-percale}
---
# nothing
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, namespace: kube-percale, name: percale}]
`

// TestAgentToken has the bearer of an agent's token, by a kubeconfig, do what it
// may and fail at what it may not, before and after the server was killed; the
// audit log tells of both.
func TestAgentToken(t *testing.T) {
	s := Shared(t)
	if err := errors.Join(s.Apply(t.Context(), []byte(reader)), s.CreateNode(t.Context(), n1)); err != nil {
		t.Fatal(err)
	}
	agent := s.agent(t, "n1")
	before := map[string]int{"get": s.audited(t, "get", 200), "delete": s.audited(t, "delete", 403)}
	try := func() {
		t.Helper()
		if n, err := agent.Resource(kubeapi.Nodes, "").Get(t.Context(), "n1", metav1.GetOptions{}); err != nil {
			t.Error(err)
		} else if cidr, _, err := unstructured.NestedString(n.Object, "spec", "podCIDR"); cidr != "10.244.1.0/24" || err != nil {
			t.Errorf("spec.podCIDR = %q, %v; want that of n1", cidr, err)
		}
		if err := agent.DeleteNode(t.Context(), "n1"); !apierrors.IsForbidden(err) {
			t.Errorf("delete by an agent: %v; want it forbidden", err)
		}
	}
	try()
	s.Kill()
	if err := s.Ready(t.Context()); err == nil {
		t.Error("the server was killed and is ready")
	}
	s.Restart(t)
	try()
	after := map[string]int{"get": s.audited(t, "get", 200) - 2, "delete": s.audited(t, "delete", 403) - 2}
	if !maps.Equal(before, after) {
		t.Errorf("the audit log has %v requests of before the last two; want %v", after, before)
	}
}

// agent returns a client by a kubeconfig with the node's token.
func (s *Server) agent(t *testing.T, node string) *kubeapi.Client {
	t.Helper()
	token, err := s.NodeToken(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err = errors.Join(os.WriteFile(path+".token", []byte(token), 0o600), s.Kubeconfig(path, path+".token"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kubeapi.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// audited returns how many requests for node n1 by the agent on it the audit log
// holds.
func (s *Server) audited(t *testing.T, verb string, code int) (n int) {
	t.Helper()
	want := kubeapi.Request{
		User: "system:serviceaccount:kube-percale:percale", Node: "n1", Verb: verb, Resource: "nodes", Name: "n1",
		Path: "/api/v1/nodes/n1", Code: code,
	}
	got, err := s.Requests()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got {
		r.ID, r.Query, r.Agent = "", "", ""
		if r == want {
			n++
		}
	}
	return n
}

// TestGarbageCollection wants what a Node owns to go with it.
func TestGarbageCollection(t *testing.T) {
	s := Shared(t)
	ctx := t.Context()
	if err := errors.Join(s.Apply(ctx, []byte(reader)), s.CreateNode(ctx, n1)); err != nil {
		t.Fatal(err)
	}
	n, err := s.Resource(kubeapi.Nodes, "").Get(ctx, "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lease := fmt.Sprintf(`
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: owned, namespace: kube-percale, ownerReferences: [{apiVersion: v1, kind: Node, name: n1, uid: %s}]}
spec: {holderIdentity: n1}`, n.GetUID())
	if err := s.Apply(ctx, []byte(lease)); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteNode(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	err = labtest.Eventually(t, time.Minute, func() error {
		_, err := s.Resource(kubeapi.Leases, kubeapi.Namespace).Get(ctx, "owned", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("the lease outlives its Node"), err)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSharedIsClear wants nothing of another test to be there.
func TestSharedIsClear(t *testing.T) {
	for range 2 {
		t.Run("", func(t *testing.T) {
			s := Shared(t)
			if _, err := s.NodeToken(t.Context(), "n1"); err != nil {
				t.Fatal(err)
			}
			if err := s.CreateNode(t.Context(), n1); err != nil {
				t.Error(err) // it would exist
			}
		})
	}
}

// TestPodCIDRs wants a server of the test's own to give Nodes pod ranges of both
// families, and to answer again after a pause.
func TestPodCIDRs(t *testing.T) {
	s := Start(t, Options{Manager: true, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.250.0.0/16"), netip.MustParsePrefix("fd00:250::/48")}})
	if err := s.CreateNode(t.Context(), kubeapi.Node{Name: "n2"}); err != nil {
		t.Fatal(err)
	}
	err := labtest.Eventually(t, time.Minute, func() error {
		n, err := s.Resource(kubeapi.Nodes, "").Get(t.Context(), "n2", metav1.GetOptions{})
		if err != nil {
			return err
		}
		got, _, err := unstructured.NestedStringSlice(n.Object, "spec", "podCIDRs")
		if want := []string{"10.250.0.0/24", "fd00:250::/64"}; !slices.Equal(got, want) {
			return fmt.Errorf("spec.podCIDRs = %v, %v; want %v", got, err, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	s.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused server answers: %v", err)
	}
	s.Resume(t)
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
