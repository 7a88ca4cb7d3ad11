// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/status"
)

// flannel is the prefix of its annotations.
const flannel = "flannel.alpha.coreos.com/"

// usual is a cluster that gives its Nodes pod ranges.
func usual(t *testing.T, k *cluster) {
	labtest.Prove(t, k.Lab)
	var pids []int
	for _, n := range k.Nodes() {
		pids = append(pids, process(t, n))
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"what a Node says", published},
		{"condition", condition},
		{"what Kubernetes is told", told},
		{"another's annotations", trespass},
		{"own annotations removed", annotationsRemoved},
		{"Node deleted and re-created", nodeReplaced},
		{"token replaced", tokenReplaced},
		{"node joins", joins},
		{"overlapping podCIDRs", overlap},
	} {
		t.Run(step.name, func(t *testing.T) { step.run(t, k) })
	}
	labtest.Prove(t, k.Lab)
	for i, pid := range pids {
		if now := process(t, k.Node(i+1)); now != pid {
			t.Errorf("the agent of n%d was process %d and is %d; want no restart", i+1, pid, now)
		}
	}
}

// lacks returns an error unless the Node says what flannel's nodes read.
func (k *cluster) lacks(t *testing.T, n *lab.Node) error {
	t.Helper()
	has := k.object(t, n.Name()).GetAnnotations()
	up, err := n.PodCIDRs()
	must(t, err)
	want := map[string]string{
		flannel + "kube-subnet-manager": "true",
		flannel + "backend-type":        "vxlan",
		flannel + "public-ip":           n.Uplink()[0].String(),
		flannel + "public-ipv6":         n.Uplink()[1].String(),
		"percale.io/subnets":            up[0].String() + "," + up[1].String(),
	}
	var errs []error
	for key, value := range want {
		if has[key] != value {
			errs = append(errs, fmt.Errorf("%s: %s = %q; want %q", n.Name(), key, has[key], value))
		}
	}
	for _, key := range []string{"backend-data", "backend-v6-data"} {
		var data struct {
			VNI     int
			VtepMAC string
		}
		if err := json.Unmarshal([]byte(has[flannel+key]), &data); err != nil || data.VNI != 1 || len(data.VtepMAC) != len("02:00:00:00:00:01") {
			errs = append(errs, fmt.Errorf("%s: %s = %q, %v; want VNI 1 and a MAC", n.Name(), key, has[flannel+key], err))
		}
	}
	return errors.Join(errs...)
}

func published(t *testing.T, k *cluster) {
	for _, n := range k.Nodes() {
		if err := k.lacks(t, n); err != nil {
			t.Error(err)
		}
	}
}

// condition wants each Node to say that its network works.
func condition(t *testing.T, k *cluster) {
	for _, n := range k.Nodes() {
		eventually(t, func() error {
			all, _, err := unstructured.NestedSlice(k.object(t, n.Name()).Object, "status", "conditions")
			for _, c := range all {
				c, _ := c.(map[string]any)
				if c["type"] == "NetworkUnavailable" && c["status"] == "False" && c["reason"] == "PercaleIsUp" {
					return nil
				}
			}
			return errors.Join(err, fmt.Errorf("conditions of %s: %v; want NetworkUnavailable False, PercaleIsUp", n.Name(), all))
		})
	}
}

func annotationsRemoved(t *testing.T, k *cluster) {
	gone := make(map[string]any)
	for key := range k.object(t, "n1").GetAnnotations() {
		if strings.HasPrefix(key, flannel) || strings.HasPrefix(key, "percale.io/") {
			gone[key] = nil
		}
	}
	must(t, patch(t.Context(), k.admin, "n1", annotations(gone)))
	eventually(t, func() error { return k.lacks(t, k.Node(1)) })
	k.ready(t)
}

// nodeReplaced deletes a Node under its agent, which is to say so and to wait,
// and registers it anew.
func nodeReplaced(t *testing.T, k *cluster) {
	n := k.Node(3)
	mac := k.object(t, "n3").GetAnnotations()[flannel+"backend-data"]
	must(t, k.admin.DeleteNode(t.Context(), "n3"))
	await(t, n, func(s status.Status) error { return says(s, "no Node n3") })
	await(t, k.Node(1), func(s status.Status) error {
		if s.Peers.Wanted != 1 {
			return fmt.Errorf("n1 has %d peers, and n3 is no Node; want 1", s.Peers.Wanted)
		}
		return nil
	})
	must(t, n.Register(t.Context()))
	eventually(t, func() error { return k.lacks(t, n) })
	if now := k.object(t, "n3").GetAnnotations()[flannel+"backend-data"]; now != mac {
		t.Errorf("n3 published %s, and now %s; want the same", mac, now)
	}
	k.ready(t)
	labtest.Prove(t, k.Lab)
}

// tokenReplaced makes a node's token worthless, as when its pod is replaced, and
// gives the agent another.
func tokenReplaced(t *testing.T, k *cluster) {
	n := k.Node(2)
	token, err := os.ReadFile(n.TokenFile())
	must(t, err)
	agent, err := k.KubeAs(string(token))
	must(t, err)
	now := int64(0)
	must(t, k.admin.Resource(kubeapi.Pods, kubeapi.Namespace).Delete(t.Context(), "percale-n2", metav1.DeleteOptions{GracePeriodSeconds: &now}))
	must(t, n.NewToken(t.Context()))
	eventually(t, func() error { // the API server believes it for some seconds more
		_, err := agent.Resource(kubeapi.Nodes, "").Get(t.Context(), "n2", metav1.GetOptions{})
		if apierrors.IsUnauthorized(err) {
			return nil
		}
		return fmt.Errorf("the old token: %v; want it refused", err)
	})
	must(t, patch(t.Context(), k.admin, "n2", annotations(map[string]any{flannel + "backend-type": nil})))
	eventually(t, func() error { return k.lacks(t, n) })
}

// joins adds a node with a pod to the cluster.
func joins(t *testing.T, k *cluster) {
	n, err := k.AddNode(t.Context())
	must(t, err)
	k.ready(t)
	_, err = n.AddPod(t.Context(), 0)
	must(t, err)
	labtest.Prove(t, k.Lab)
}

// overlap gives the Node that has joined the pod range of another one, and then
// its own again.
func overlap(t *testing.T, k *cluster) {
	n := k.Node(4)
	for _, p := range n.Pods() {
		must(t, n.RemovePod(t.Context(), p))
	}
	twice, err := k.Node(1).PodCIDRs()
	must(t, err)
	must(t, k.admin.DeleteNode(t.Context(), "n4"))
	must(t, k.admin.CreateNode(t.Context(), kubeapi.Node{Name: "n4", Addrs: n.Uplink(), PodCIDRs: twice}))
	for node, others := range map[int][]string{1: {"n4"}, 2: {"n1", "n4"}, 4: {"n1"}} {
		await(t, k.Node(node), func(s status.Status) error { return says(s, append(others, twice[0].String())...) })
	}
	must(t, k.admin.DeleteNode(t.Context(), "n4"))
	must(t, n.Register(t.Context()))
	k.ready(t)
	for _, n := range k.Nodes() {
		await(t, n, func(s status.Status) error {
			if len(s.Problems) > 0 || len(s.Refused) > 0 {
				return fmt.Errorf("%s has problems %v and refuses %v; want none", n.Name(), s.Problems, s.Refused)
			}
			return nil
		})
	}
	// While the bridge has an address of the other node's subnet, that node's pods
	// seem to be here.
	gateway := twice[0].Addr().Next().String()
	eventually(t, func() error {
		out, err := n.NS().Output("ip", "-o", "address", "show", "dev", "cni0")
		if err == nil && strings.Contains(out, gateway+"/") {
			err = fmt.Errorf("the bridge of n4 still has %s:\n%s", gateway, out)
		}
		return err
	})
	_, err = n.AddPod(t.Context(), 0)
	must(t, err)
}
