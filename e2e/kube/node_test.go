// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/percale-net/percale/internal/lab/kubeapi"
)

const upReason = "PercaleIsUp"

// wantCondition waits until a Node has a condition with a status and a reason.
func (k *cluster) wantCondition(t *testing.T, node, kind, status, reason string) {
	t.Helper()
	eventually(t, func() error {
		all, _, err := unstructured.NestedSlice(k.object(t, node).Object, "status", "conditions")
		for _, one := range all {
			if c, _ := one.(map[string]any); c["type"] == kind && c["status"] == status && c["reason"] == reason {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("conditions of %s: %v; want %s %s, %s", node, all, kind, status, reason))
	})
}

// reasons lists those of the Events about a Node.
func (k *cluster) reasons(t *testing.T, node string) (all []string) {
	t.Helper()
	list, err := k.admin.Resource(kubeapi.Events, metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Node,involvedObject.name=" + node + ",source=percaled",
	})
	must(t, err)
	for _, e := range list.Items {
		reason, _, err := unstructured.NestedString(e.Object, "reason")
		must(t, err)
		all = append(all, reason)
	}
	return all
}

// told wants Kubernetes to be told the truth about a node, whoever else speaks.
func told(t *testing.T, k *cluster) {
	const node = "n2"
	k.wantCondition(t, node, "NetworkUnavailable", "False", upReason)
	k.wantCondition(t, node, "PodSubnetExhausted", "False", "PodSubnetHasRoom")

	// A cloud's controller has its own idea.
	_, err := k.admin.Resource(kubeapi.Nodes, "").Patch(t.Context(), node, types.StrategicMergePatchType,
		[]byte(`{"status":{"conditions":[{"type":"NetworkUnavailable","status":"True","reason":"NoRouteCreated"}]}}`), metav1.PatchOptions{}, "status")
	must(t, err)
	k.wantCondition(t, node, "NetworkUnavailable", "False", upReason)

	// Pods cannot be made, as the file for CNI plugins cannot be written.
	file := k.Node(2).Agent(0).SubnetFile()
	must(t, errors.Join(os.Remove(file), os.MkdirAll(file+"/x", 0o755)))
	k.wantCondition(t, node, "NetworkUnavailable", "True", "NoSubnetFile")
	must(t, os.RemoveAll(file))
	k.wantCondition(t, node, "NetworkUnavailable", "False", upReason)
	eventually(t, func() error {
		has := k.reasons(t, node)
		for _, want := range []string{upReason, "NoSubnetFile"} {
			if !slices.Contains(has, want) {
				return fmt.Errorf("Events of %s: %q; want %s among them", node, has, want)
			}
		}
		if len(has) > 4 {
			t.Errorf("Events of %s: %q; want them for changes alone", node, has)
		}
		return nil
	})
}
