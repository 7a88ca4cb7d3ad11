// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Where the agents run, as dist/percale.yaml has it.
const (
	Namespace      = "kube-percale"
	ServiceAccount = "percale"
)

// The kinds of object that tests look at.
var (
	Nodes           = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	Pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	Events          = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	Leases          = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
)

// An object is the content of one, as JSON has it.
type object = map[string]any

// A Node is what a new Node object says.
type Node struct {
	Name     string
	Addrs    []netip.Addr   // internal addresses
	PodCIDRs []netip.Prefix // none: left for a controller to set
}

// CreateNode registers a node as its kubelet does, with all that a kubelet tells
// of a machine; so it is as large as nodes are.
func (c *Client) CreateNode(ctx context.Context, n Node) error {
	o := &unstructured.Unstructured{Object: n.object()}
	if _, err := c.Resource(Nodes, "").Create(ctx, o, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node %s: %w", n.Name, err)
	}
	return nil
}

// DeleteNode removes a Node object. That there is none is an error.
func (c *Client) DeleteNode(ctx context.Context, name string) error {
	return c.Resource(Nodes, "").Delete(ctx, name, metav1.DeleteOptions{})
}

func (n Node) object() object {
	spec := object{"providerID": "lab://" + n.Name}
	var cidrs []any
	for _, c := range n.PodCIDRs {
		cidrs = append(cidrs, c.String())
	}
	if len(cidrs) > 0 {
		spec["podCIDR"], spec["podCIDRs"] = cidrs[0], cidrs
	}
	return object{
		"apiVersion": "v1", "kind": "Node", "spec": spec, "status": n.status(),
		"metadata": object{
			"name": n.Name,
			"labels": object{
				"kubernetes.io/hostname": n.Name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
				"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
				"topology.kubernetes.io/region": "lab", "topology.kubernetes.io/zone": "lab-a",
				"node.kubernetes.io/instance-type": "namespace",
			},
			"annotations": object{
				"node.alpha.kubernetes.io/ttl":                           "0",
				"volumes.kubernetes.io/controller-managed-attach-detach": "true",
			},
		},
	}
}

func (n Node) status() object {
	addrs := []any{object{"type": "Hostname", "address": n.Name}}
	for _, a := range n.Addrs {
		addrs = append(addrs, object{"type": "InternalIP", "address": a.String()})
	}
	has := object{
		"cpu": "8", "memory": "32791868Ki", "pods": "110", "ephemeral-storage": "203056560Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
	}
	return object{
		"addresses": addrs, "capacity": has, "allocatable": has,
		"conditions": []any{
			condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
			condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
			condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
			condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
		},
		"daemonEndpoints": object{"kubeletEndpoint": object{"Port": int64(10250)}},
		"images":          images(),
		"nodeInfo": object{
			"architecture": "amd64", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 13 (trixie)", "kernelVersion": "6.12.48-amd64",
			"containerRuntimeVersion": "containerd://2.1.4", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
			"machineID": "1f3870be274f6c49b3e31a0c6728957f", "systemUUID": "b026324c-6904-b2a9-cb4b-88d6d61c81d1",
			"bootID": "26ab0db9-0d72-c28a-d0ba-1e22ee510510",
		},
	}
}

func condition(kind, status, reason, message string) object {
	return object{
		"type": kind, "status": status, "reason": reason, "message": message,
		"lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
	}
}

// images lists as many as a kubelet reports at most.
func images() []any {
	var all []any
	for i := range 50 {
		name := fmt.Sprintf("registry.lab/team-%d/service-%d", i%7, i)
		all = append(all, object{
			"names":     []any{name + "@sha256:" + strings.Repeat(fmt.Sprintf("%02x", i), 32), fmt.Sprintf("%s:v1.%d.0", name, i)},
			"sizeBytes": int64(20_000_000 + i*1_000_000),
		})
	}
	return all
}

// NodeToken returns a token as the kubelet of a node gives it to the agent's
// pod there: of its service account, bound to the pod, naming the node, and good as
// long as a lab may last. It makes the pod, and the account if need be.
func (c *Client) NodeToken(ctx context.Context, node string) (string, error) {
	pod, err := c.agentPod(ctx, node)
	if err != nil {
		return "", fmt.Errorf("make the agent's pod on %s: %w", node, err)
	}
	request := &unstructured.Unstructured{Object: object{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"metadata": object{"name": ServiceAccount},
		"spec": object{
			"audiences": []any{Issuer}, "expirationSeconds": int64(lifetime.Seconds()),
			"boundObjectRef": object{"apiVersion": "v1", "kind": "Pod", "name": pod.GetName(), "uid": string(pod.GetUID())},
		},
	}}
	answer, err := c.Resource(serviceAccounts, Namespace).Create(ctx, request, metav1.CreateOptions{}, "token")
	if err != nil {
		return "", fmt.Errorf("ask for a token of %s: %w", pod.GetName(), err)
	}
	token, _, err := unstructured.NestedString(answer.Object, "status", "token")
	return token, err
}

// agentPod returns the agent's pod of a node, made if there is none.
func (c *Client) agentPod(ctx context.Context, node string) (*unstructured.Unstructured, error) {
	for _, o := range []struct {
		kind schema.GroupVersionResource
		ns   string
		object
	}{
		{namespaces, "", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": Namespace}}},
		{serviceAccounts, Namespace, object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": ServiceAccount}}},
		{Pods, Namespace, agentPodOn(node)},
	} {
		_, err := c.Resource(o.kind, o.ns).Create(ctx, &unstructured.Unstructured{Object: o.object}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
	return c.Resource(Pods, Namespace).Get(ctx, agentPodName(node), metav1.GetOptions{})
}

func agentPodName(node string) string { return ServiceAccount + "-" + node }

func agentPodOn(node string) object {
	return object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": agentPodName(node), "labels": object{"app.kubernetes.io/name": "percale"}},
		"spec": object{
			"nodeName": node, "serviceAccountName": ServiceAccount, "hostNetwork": true,
			"containers": []any{object{"name": "percaled", "image": "registry.lab/percale"}},
		},
	}
}
