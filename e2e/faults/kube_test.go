// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/kubeapi"
)

// kubeModes are the nodes on Kubernetes.
var kubeModes = []mode{
	{"Kubernetes, dual", lab.Spec{Families: lab.Dual, Store: lab.StoreKube, Manifest: "../../dist/percale.yaml"}},
}

// kubeNotYet is notYet for the faults on Kubernetes.
var kubeNotYet = map[string]string{}

// kubeFaults lists what befalls Kubernetes, or the way there. After each the
// victim must still learn what is new. Peers forget a node that is none for a
// moment.
var kubeFaults = []fault{
	{name: "API server killed, started", follows: true, inject: onEtcd((*lab.Lab).KillKube, (*lab.Lab).StartKube)},
	{name: "API server paused", follows: true, inject: onEtcd(
		func(l *lab.Lab, _ context.Context) error { return l.PauseKube() },
		func(l *lab.Lab, _ context.Context) error { return l.ResumeKube() })},
	{name: "cut off, history forgotten", follows: true, inject: forgetMeanwhile},
	{name: "all nodes cut off", follows: true, inject: onEtcd(onNodes((*lab.Node).LoseKube), onNodes((*lab.Node).FindKube))},
	{name: "agent killed, started without API server", follows: true, restarts: true,
		inject: startWithout((*lab.Lab).KillKube, (*lab.Lab).StartKube)},
	{name: "own annotations deleted", follows: true, inject: stripNode(1)},
	{name: "peer's annotations deleted", follows: true, inject: stripNode(2), extra: 100},
	{name: "own Node deleted, registered", follows: true, inject: replaceNode(1), extra: 100},
	{name: "peer's Node deleted, registered", follows: true, inject: replaceNode(2), extra: 100},
	{name: "API server's data restored from before the peer joined", follows: true, inject: restoreKube, extra: 500},
}

// TestFaultsOnKubernetes runs the faults of every node, and these.
func TestFaultsOnKubernetes(t *testing.T) {
	t.Parallel()
	suite{slices.Concat(faults, kubeFaults), kubeModes, kubeNotYet}.run(t)
}

// kube passes do an administrator's client of the victim's lab.
func (v *victim) kube(t *testing.T, do func(context.Context, *kubeapi.Client) error) {
	t.Helper()
	c, err := v.lab.Kube()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	must(t, do(ctx, c))
}

// forgetMeanwhile lets Kubernetes forget what the victim missed: etcd its
// history, and the API server what it had kept of that.
func forgetMeanwhile(t *testing.T, v *victim) {
	t.Helper()
	must(t, v.node.LoseKube())
	v.kube(t, func(ctx context.Context, c *kubeapi.Client) error {
		for range 10 {
			_, err := c.Resource(kubeapi.Nodes, "").Create(ctx, flannelNode("missed"), metav1.CreateOptions{})
			if err := errors.Join(err, c.DeleteNode(ctx, "missed")); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, v.lab.KillKube(t.Context()))
	must(t, v.lab.CompactEtcd(t.Context()))
	must(t, v.lab.StartKube(t.Context()))
	must(t, v.node.FindKube())
}

// inTouch waits until no agent of the lab lacks its API server: the last fault
// may have left the peer's without.
func (v *victim) inTouch(t *testing.T) {
	t.Helper()
	must(t, eventually(t, limit, func() error {
		for _, n := range v.lab.Nodes() {
			if s, err := n.Agent(0).Status(t.Context()); err != nil || s.Store.Error != "" {
				return errors.Join(err, fmt.Errorf("the agent of %s says of its store: %s", n.Name(), s.Store.Error))
			}
		}
		return nil
	}))
}

// stripNode takes away all that a node's agent publishes, so that it must
// publish it anew.
func stripNode(index int) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		name := v.lab.Node(index).Name()
		v.kube(t, func(ctx context.Context, c *kubeapi.Client) error {
			o, err := c.Resource(kubeapi.Nodes, "").Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			gone := make(map[string]any)
			for key := range o.GetAnnotations() {
				if strings.HasPrefix(key, "flannel.") || strings.HasPrefix(key, "percale.io/") {
					gone[key] = nil
				}
			}
			if len(gone) == 0 {
				return fmt.Errorf("Node %s publishes nothing", name)
			}
			b, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": gone}})
			if err == nil {
				_, err = c.Resource(kubeapi.Nodes, "").Patch(ctx, name, types.MergePatchType, b, metav1.PatchOptions{})
			}
			return err
		})
	}
}

// replaceNode deletes a Node, and has its kubelet register it anew.
func replaceNode(index int) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		t.Helper()
		n := v.lab.Node(index)
		v.kube(t, func(ctx context.Context, c *kubeapi.Client) error {
			return errors.Join(c.DeleteNode(ctx, n.Name()), n.Register(ctx))
		})
	}
}

// restoreKube brings back what Kubernetes had before the peer was there, whose
// kubelet then registers it anew.
func restoreKube(t *testing.T, v *victim) {
	t.Helper()
	ctx := t.Context()
	must(t, v.lab.KillKube(ctx))
	restoreEtcd(t, v)
	must(t, v.lab.StartKube(ctx))
	must(t, errors.Join(v.lab.Node(2).Register(ctx), v.lab.Node(2).NewToken(ctx)))
}

// followNodes is follow for a victim on Kubernetes.
func (v *victim) followNodes(t *testing.T) error {
	t.Helper()
	must(t, eventually(t, patient, func() (err error) {
		v.kube(t, func(ctx context.Context, c *kubeapi.Client) error {
			o, wrong := c.Resource(kubeapi.Nodes, "").Get(ctx, v.node.Name(), metav1.GetOptions{})
			if wrong == nil && o.GetAnnotations()["percale.io/subnets"] == "" {
				err = fmt.Errorf("Node %s publishes nothing", v.node.Name())
			}
			return wrong
		})
		return err
	}))
	const name = "flannel-only"
	v.kube(t, func(ctx context.Context, c *kubeapi.Client) error {
		_, err := c.Resource(kubeapi.Nodes, "").Create(ctx, flannelNode(name), metav1.CreateOptions{})
		return err
	})
	joined := v.routed(t, "a new Node", true)
	v.kube(t, func(ctx context.Context, c *kubeapi.Client) error { return c.DeleteNode(ctx, name) })
	return errors.Join(joined, v.routed(t, "its end", false))
}

// flannelNode is a Node on which flannel runs.
func flannelNode(name string) *unstructured.Unstructured {
	const prefix = "flannel.alpha.coreos.com/"
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"spec": map[string]any{"podCIDR": "10.244.255.0/24", "podCIDRs": []any{"10.244.255.0/24"}},
		"metadata": map[string]any{"name": name, "annotations": map[string]any{
			prefix + "kube-subnet-manager": "true",
			prefix + "backend-type":        "vxlan",
			prefix + "backend-data":        `{"VNI":1,"VtepMAC":"26:1b:00:00:00:ff"}`,
			prefix + "public-ip":           "192.168.77.250",
		}},
	}}
}
