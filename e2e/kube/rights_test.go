// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/percale-net/percale/internal/lab/kubeapi"
)

// agentUser is whom the agents are, for RBAC.
const agentUser = "system:serviceaccount:" + kubeapi.Namespace + ":" + kubeapi.ServiceAccount

// A right is to do one thing with one kind of object, in a namespace or, if that
// is "", everywhere.
type right struct{ namespace, group, resource, verb string }

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s in %q", r.verb, r.resource, r.group, r.namespace)
}

// requests collects what agents asked of API servers; it may be used
// concurrently.
type requests struct {
	mu      sync.Mutex
	granted map[right]string // with an example
	refused map[string]right // by what was asked
}

// add adds what the agents of a cluster have asked so far.
func (rs *requests) add(t *testing.T, k *cluster) {
	t.Helper()
	all, err := k.KubeRequests()
	must(t, err)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.granted == nil {
		rs.granted, rs.refused = make(map[right]string), make(map[string]right)
	}
	for _, r := range all {
		if r.User != agentUser || r.Agent == kubeapi.UserAgent || r.Resource == "" {
			continue
		}
		example := fmt.Sprintf("%s %s by %s: %d", r.Verb, r.Path, r.Node, r.Code)
		asked := right{r.Namespace, r.Group, r.Resource, r.Verb}
		if r.Code == 403 {
			rs.refused[example] = asked
			continue
		}
		rs.granted[asked] = example
	}
}

// compare wants each request to have been allowed, and each right of the
// manifest to have been used.
func (rs *requests) compare(t *testing.T) {
	t.Helper()
	has := rights(t)
	for example, r := range rs.refused {
		// A server that starts refuses all until it has read who may what. Changes,
		// which the policy may refuse, too, agents make only when they have read.
		if _, later := rs.granted[r]; later && slices.Contains([]string{"get", "list", "watch"}, r.verb) {
			t.Logf("refused to an agent at times: %s", example)
			continue
		}
		t.Errorf("refused to an agent: %s", example)
	}
	used := make(map[right]bool)
	for r, example := range rs.granted {
		here, everywhere := r, r
		everywhere.namespace = ""
		switch {
		case has[here]:
			used[here] = true
		case has[everywhere]:
			used[everywhere] = true
		default:
			t.Errorf("%s does not list what an agent did: %s", manifest, example)
		}
	}
	for r := range has {
		if !used[r] {
			t.Errorf("%s allows agents what none did: %s", manifest, r)
		}
	}
	t.Logf("agents asked for:\n%s", strings.Join(slices.Sorted(maps.Values(rs.granted)), "\n"))
}

// rights reads the manifest: what the agents' account is bound to.
func rights(t *testing.T) map[right]bool {
	t.Helper()
	text, err := os.ReadFile(manifest)
	must(t, err)
	objects, err := kubeapi.Objects(text)
	must(t, err)
	all := make(map[right]bool)
	for _, b := range objects {
		if !strings.HasSuffix(b.GetKind(), "RoleBinding") {
			continue
		}
		kind, _, _ := unstructured.NestedString(b.Object, "roleRef", "kind")
		name, _, _ := unstructured.NestedString(b.Object, "roleRef", "name")
		i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == kind && o.GetName() == name && (kind == "ClusterRole" || o.GetNamespace() == b.GetNamespace())
		})
		if i < 0 {
			t.Fatalf("%s: %s %s is bound to no role that is there: %s %s", manifest, b.GetKind(), b.GetName(), kind, name)
		}
		addRights(t, all, b.GetNamespace(), objects[i])
	}
	if len(all) < 4 {
		t.Fatalf("%s: %d rights; want more", manifest, len(all))
	}
	return all
}

// rule is one of a role, as far as agents may have any.
type rule struct {
	APIGroups, Resources, Verbs    []string
	ResourceNames, NonResourceURLs []string
}

func addRights(t *testing.T, all map[right]bool, namespace string, role *unstructured.Unstructured) {
	t.Helper()
	var rules struct{ Rules []rule }
	text, err := role.MarshalJSON()
	must(t, err)
	must(t, json.Unmarshal(text, &rules))
	for _, r := range rules.Rules {
		if len(r.NonResourceURLs) > 0 {
			t.Errorf("%s %s: want no rule for URLs", role.GetKind(), role.GetName())
		}
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					all[right{namespace, group, resource, verb}] = true
				}
			}
		}
	}
}
