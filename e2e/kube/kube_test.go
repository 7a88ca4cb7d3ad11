// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/status"
)

// limit bounds each wait for something that is to happen. It is no measure: the
// longest that an agent itself takes is the minute after which a client reads
// its token again.
const limit = 2 * time.Minute

// manifest is what an operator applies.
const manifest = "../../dist/percale.yaml"

func TestMain(m *testing.M) { os.Exit(labtest.Main(m)) }

// TestKubernetes lets things happen to clusters, and then wants the agents to
// have asked the API servers for just what the manifest allows them.
func TestKubernetes(t *testing.T) {
	var asked requests
	t.Run("cluster", func(t *testing.T) {
		for _, c := range []struct {
			name string
			spec lab.Spec
			run  func(*testing.T, *cluster)
		}{
			{"usual", lab.Spec{Nodes: 3, Pods: 1, Families: lab.Dual}, usual},
			{"API server away for a minute", lab.Spec{Nodes: 2, Pods: 1}, away},
			{"no podCIDR", lab.Spec{Nodes: 2, Pods: 1, NoPodCIDRs: true}, unassigned},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				k := up(t, c.spec)
				c.run(t, k)
				asked.add(t, k)
			})
		}
	})
	if !t.Failed() { // else not all was done that needs rights
		asked.compare(t)
	}
}

// A cluster is a lab on Kubernetes.
type cluster struct {
	*lab.Lab
	admin *kubeapi.Client
}

func up(t *testing.T, spec lab.Spec) *cluster {
	t.Helper()
	spec.Store, spec.Manifest = lab.StoreKube, manifest
	l := labtest.Up(t, spec)
	admin, err := l.Kube()
	must(t, err)
	return &cluster{l, admin}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually calls check until it returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	must(t, labtest.Eventually(t, limit, check))
}

// await waits until the state of a node's agent pleases check.
func await(t *testing.T, n *lab.Node, check func(status.Status) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	must(t, n.Agent(0).Wait(ctx, check))
}

// ready waits until every agent holds every other node.
func (k *cluster) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, n := range k.Nodes() {
		must(t, n.Agent(0).WaitReady(ctx, len(k.Nodes())-1))
	}
}

// object returns a node's Node.
func (k *cluster) object(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	o, err := k.admin.Resource(kubeapi.Nodes, "").Get(t.Context(), name, metav1.GetOptions{})
	must(t, err)
	return o
}

// patch merges a change into a Node.
func patch(ctx context.Context, c *kubeapi.Client, name string, change map[string]any, sub ...string) error {
	b, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = c.Resource(kubeapi.Nodes, "").Patch(ctx, name, types.MergePatchType, b, metav1.PatchOptions{}, sub...)
	return err
}

func annotations(set map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{"annotations": set}}
}

// assign gives a Node a pod range, as the cluster's controller does.
func (k *cluster) assign(t *testing.T, name string, p netip.Prefix) {
	t.Helper()
	must(t, patch(t.Context(), k.admin, name, map[string]any{
		"spec": map[string]any{"podCIDR": p.String(), "podCIDRs": []string{p.String()}},
	}))
}

// says returns an error unless one of the problems, or what the agent waits
// for, has all the words.
func says(s status.Status, words ...string) error {
	texts := []string{s.Waiting}
	for _, p := range s.Problems {
		texts = append(texts, p.Seen)
	}
	for _, r := range s.Refused {
		texts = append(texts, fmt.Sprint(r))
	}
	for _, text := range texts {
		missing := 0
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
	}
	return fmt.Errorf("the agent of %s says %q; want one to have %q", s.Node, texts, words)
}

// process returns what identifies an agent's process; an agent that was not to
// restart has the same one later.
func process(t *testing.T, n *lab.Node) int {
	t.Helper()
	pid := n.Agent(0).PID()
	if pid == 0 {
		t.Fatal(errors.New("no agent runs on " + n.Name()))
	}
	return pid
}
