// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/labtest"
)

// kubeManifest is the least that a lab is given to apply.
const kubeManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: kube-percale}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: percale-conf, namespace: kube-percale}
data: {net-conf.json: "{}", other: stays}
`

const agentUser = "system:serviceaccount:kube-percale:percale"

var (
	maps    = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	reviews = schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
)

func upKube(t *testing.T, spec lab.Spec) (*lab.Lab, *kubeapi.Client) {
	t.Helper()
	spec.Store, spec.Manifest, spec.NoWait = lab.StoreKube, filepath.Join(t.TempDir(), "manifest.yaml"), true
	if err := os.WriteFile(spec.Manifest, []byte(kubeManifest), 0o644); err != nil {
		t.Fatal(err)
	}
	l := labtest.Up(t, spec)
	c, err := l.Kube()
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// TestKube wants a lab to have what a cluster has before the agents start, and
// makes the API server fail in each way.
func TestKube(t *testing.T) {
	t.Parallel()
	l, c := upKube(t, lab.Spec{Nodes: 2, Families: lab.Dual})
	ctx := t.Context()
	wantField(t, c.Resource(kubeapi.Nodes, ""), "n2", []string{"10.244.2.0/24", "fd00:10:244:2::/64"}, "spec", "podCIDRs")
	conf, err := l.Spec().NetConf(0)
	if err != nil {
		t.Fatal(err)
	}
	wantField(t, c.Resource(maps, kubeapi.Namespace), "percale-conf", map[string]string{"net-conf.json": string(conf), "other": "stays"}, "data")

	node := l.Node(1)
	ask := func() error { return askAs(ctx, node) }
	if err := ask(); err != nil {
		t.Error(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, fault := range []struct {
		name       string
		begin, end func() error
	}{
		{"killed", func() error { return l.KillKube(ctx) }, func() error { return l.StartKube(ctx) }},
		{"paused", l.PauseKube, l.ResumeKube},
		{"cut off", node.LoseKube, node.FindKube},
		{"another token", func() error { return os.Truncate(node.TokenFile(), 0) }, func() error { return node.NewToken(ctx) }},
	} {
		must(fault.begin())
		if err := ask(); err == nil {
			t.Errorf("%s: the API server answers n1", fault.name)
		}
		must(fault.end())
		if err := ask(); err != nil {
			t.Errorf("%s, and mended: %v", fault.name, err)
		}
	}
	wantAsked(t, l)
}

// askAs asks the API server who the node's agent is, by the agent's kubeconfig
// and from its namespace.
func askAs(ctx context.Context, n *lab.Node) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(filepath.Dir(n.TokenFile()), "kubeconfig"))
	if err != nil {
		return err
	}
	cfg.Timeout = 2 * time.Second
	cfg.Dial = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = n.NS().Do(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}
	c, err := kubeapi.NewClient(cfg)
	if err != nil {
		return err
	}
	answer, err := c.Resource(reviews, "").Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
	}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	name, _, _ := unstructured.NestedString(answer.Object, "status", "userInfo", "username")
	nodes, _, _ := unstructured.NestedStringSlice(answer.Object, "status", "userInfo", "extra", "authentication.kubernetes.io/node-name")
	if name != agentUser || !slices.Equal(nodes, []string{n.Name()}) {
		return fmt.Errorf("the agent's token is of %q on %q; want %s on %s", name, nodes, agentUser, n.Name())
	}
	return nil
}

// wantField wants a field of an object to have a value.
func wantField(t *testing.T, at dynamic.ResourceInterface, name string, want any, path ...string) {
	t.Helper()
	o, err := at.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
		t.Errorf("%v of %s = %v, %v; want %v", path, name, got, err, want)
	}
}

// wantAsked wants the audit log to know of the agent's question.
func wantAsked(t *testing.T, l *lab.Lab) {
	t.Helper()
	all, err := l.KubeRequests()
	if err != nil || !slices.ContainsFunc(all, func(r kubeapi.Request) bool {
		return r.User == agentUser && r.Node == "n1" && r.Verb == "create" && r.Resource == reviews.Resource && r.Code == 201
	}) {
		t.Errorf("no request of the agent of n1 among %d in the audit log, %v", len(all), err)
	}
}

// TestNoPodCIDRs wants Nodes without a pod range where the lab is asked for it.
func TestNoPodCIDRs(t *testing.T) {
	t.Parallel()
	_, c := upKube(t, lab.Spec{Nodes: 1, NoPodCIDRs: true})
	wantField(t, c.Resource(kubeapi.Nodes, ""), "n1", nil, "spec", "podCIDRs")
}
