// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/percale-net/percale/internal/lab/kubeapi"
)

const (
	recordLabel = "percale.io/record"
	subnetsKey  = "percale.io/subnets"
)

// trespass wants the bearer of n1's token to be let change n1, its record and its
// claims, and nothing else.
func trespass(t *testing.T, k *cluster) {
	token, err := k.admin.NodeToken(t.Context(), "n1")
	must(t, err)
	agent, err := k.KubeAs(token)
	must(t, err)
	nodes := func(name string, change map[string]any) error {
		return patch(t.Context(), agent, name, change, "status")
	}
	own, others := k.object(t, "n1").GetAnnotations()[subnetsKey], k.object(t, "n2").GetAnnotations()[subnetsKey]
	set := annotations(map[string]any{"percale.io/test": "here"})
	for name, err := range map[string]error{
		"the record":       change(t.Context(), agent, "node-n1", "percale.io/test", "here"),
		"annotation":       nodes("n1", set),
		"label, gone":      nodes("n1", labels(recordLabel, nil)),
		"label":            nodes("n1", labels(recordLabel, "true")),
		"fewer subnets":    nodes("n1", annotations(map[string]any{subnetsKey: own[:len("10.244.1.0/24")]})),
		"claim":            hold(t.Context(), agent, "subnet-10-99-0-0-24", "n1"),
		"claim, given up":  agent.Resource(kubeapi.Leases, kubeapi.Namespace).Delete(t.Context(), "subnet-10-99-0-0-24", metav1.DeleteOptions{}),
		"its subnets back": nodes("n1", annotations(map[string]any{subnetsKey: own})),
	} {
		if err != nil {
			t.Errorf("%s, with the token of n1: %v; want it allowed", name, err)
		}
	}
	leases := agent.Resource(kubeapi.Leases, kubeapi.Namespace)
	for name, err := range map[string]error{
		"another Node":        nodes("n2", set),
		"another Node, label": nodes("n2", labels(recordLabel, nil)),
		"its Node's labels":   nodes("n1", labels("a", "b")),
		"its Node's spec":     patch(t.Context(), agent, "n1", map[string]any{"spec": map[string]any{"unschedulable": true}}),
		"delete its Node":     agent.DeleteNode(t.Context(), "n1"),
		"another's subnets":   nodes("n1", annotations(map[string]any{subnetsKey: others})),
		"no podCIDR":          nodes("n1", annotations(map[string]any{subnetsKey: own + ",10.99.0.0/24"})),
		"another's record":    change(t.Context(), agent, "node-n2", "percale.io/test", "here"),
		"record taken":        patchLease(t.Context(), agent, "node-n2", map[string]any{"spec": map[string]any{"holderIdentity": "n1"}}),
		"record deleted":      leases.Delete(t.Context(), "node-n2", metav1.DeleteOptions{}),
		"record given away":   patchLease(t.Context(), agent, "node-n1", map[string]any{"spec": map[string]any{"holderIdentity": "n2"}}),
		"record of nobody":    hold(t.Context(), agent, "node-n9", "n1"),
		"claim for another":   hold(t.Context(), agent, "subnet-10-99-0-0-24", "n2"),
		"some other Lease":    hold(t.Context(), agent, "leader", "n1"),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s, with the token of n1: %v; want it forbidden", name, err)
		}
	}
	if at := k.object(t, "n2").GetAnnotations()["percale.io/test"]; at != "" {
		t.Errorf("n2 bears the annotation of n1's agent: %q", at)
	}
	must(t, patch(t.Context(), k.admin, "n1", annotations(map[string]any{"percale.io/test": nil})))
}

func labels(key string, value any) map[string]any {
	return map[string]any{"metadata": map[string]any{"labels": map[string]any{key: value}}}
}

// change changes an annotation of a Lease.
func change(ctx context.Context, c *kubeapi.Client, lease, key string, value any) error {
	return patchLease(ctx, c, lease, annotations(map[string]any{key: value}))
}

// patchLease merges a change into a Lease as the agents do, which have no right to
// patch one. The agent of n1 may change its own meanwhile.
func patchLease(ctx context.Context, c *kubeapi.Client, name string, change map[string]any) (err error) {
	at := c.Resource(kubeapi.Leases, kubeapi.Namespace)
	for range 5 {
		var o *unstructured.Unstructured
		if o, err = at.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		merge(o.Object, change)
		if _, err = at.Update(ctx, o, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
}

// merge is a JSON merge patch (RFC 7396).
func merge(into, change map[string]any) {
	for key, value := range change {
		inner, deep := value.(map[string]any)
		there, _ := into[key].(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case deep && there != nil:
			merge(there, inner)
		default:
			into[key] = value
		}
	}
}

// hold creates a Lease.
func hold(ctx context.Context, c *kubeapi.Client, name, holder string) error {
	_, err := c.Resource(kubeapi.Leases, kubeapi.Namespace).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
		"metadata": map[string]any{"name": name}, "spec": map[string]any{"holderIdentity": holder},
	}}, metav1.CreateOptions{})
	return err
}
