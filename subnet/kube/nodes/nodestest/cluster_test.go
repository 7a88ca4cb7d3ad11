// SPDX-License-Identifier: Apache-2.0

package nodestest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/kubetest"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

// binaryType is the API server's binary encoding.
const binaryType = "application/vnd.kubernetes.protobuf"

// typed returns a client of the core API with the server's binary encoding,
// under the name of who writes: the server notes in each object who wrote what.
func typed(t testing.TB, cfg *rest.Config, agent string) *rest.RESTClient {
	t.Helper()
	c, err := typedClient(cfg, agent)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func typedClient(cfg *rest.Config, agent string) (*rest.RESTClient, error) {
	own := rest.CopyConfig(cfg)
	own.UserAgent, own.QPS = agent+"/v1.36.3 (linux/amd64) kubernetes/0000000", -1
	own.APIPath, own.GroupVersion = "/api", &corev1.SchemeGroupVersion
	own.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	own.ContentConfig.ContentType, own.AcceptContentTypes = binaryType, binaryType
	return rest.RESTClientFor(own)
}

// A cluster writes Nodes as kubelets, the controller manager and agents do.
type cluster struct {
	kubelet, manager, agent *rest.RESTClient
}

func newCluster(t testing.TB, cfg *rest.Config) cluster {
	return cluster{typed(t, cfg, "kubelet"), typed(t, cfg, "kube-controller-manager"), typed(t, cfg, "percaled")}
}

// each calls do for each of n nodes, several at once.
func (c cluster) each(t testing.TB, n int, do func(ctx context.Context, i int) error) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	// A list of what is now makes the server's memory catch up, from which a
	// watcher's first list comes.
	if err := c.kubelet.Get().Resource("nodes").Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

func nodeName(i int) string {
	return fmt.Sprintf("ip-10-%d-%d-%d.compute.internal", i>>16, i>>8&255, i&255)
}

// join makes a node of the cluster: its kubelet registers it, the controller
// manager gives it pod CIDRs, its agent publishes.
func (c cluster) join(ctx context.Context, i int) error {
	if err := c.kubelet.Post().Resource("nodes").Body(kubeletNode(i)).Do(ctx).Error(); err != nil {
		return err
	}
	cidr := subnetOf(i)
	err := patch(ctx, c.manager, nodeName(i), "", map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"node.alpha.kubernetes.io/ttl": "0"}},
		"spec":     map[string]any{"podCIDR": cidr, "podCIDRs": []string{cidr}},
	})
	if err != nil {
		return err
	}
	published := make(map[string]any)
	for key, value := range recordOf(i) {
		published[key] = value
	}
	return c.publish(ctx, i, published)
}

// recordOf are the annotations that an agent publishes.
func recordOf(i int) map[string]string {
	return map[string]string{
		"flannel.alpha.coreos.com/kube-subnet-manager": "true",
		"flannel.alpha.coreos.com/backend-type":        "vxlan",
		"flannel.alpha.coreos.com/backend-data":        fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:%02x:%02x"}`, i>>8, i&255),
		"flannel.alpha.coreos.com/public-ip":           fmt.Sprintf("10.0.%d.%d", i>>8, i&255),
		"percale.io/subnets":                           subnetOf(i),
	}
}

func subnetOf(i int) string { return fmt.Sprintf("10.%d.%d.0/24", 64+i>>8, i&255) }

// testRecords is where the tests' agents keep records, which tests and benchmarks
// end before they are looked at.
var testRecords = &nodes.Records{Namespace: kubeapi.Namespace, Label: "percale.io/record", Every: 24 * time.Hour}

// record writes a node's record and labels its Node, as an agent does.
func (c cluster) record(ctx context.Context, s *kubetest.Server, i int, annotations map[string]string) error {
	n, err := s.Resource(kubeapi.Nodes, "").Get(ctx, nodeName(i), metav1.GetOptions{})
	if err != nil {
		return err
	}
	lease := &coordinationv1.Lease{
		TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{
			Name: nodes.RecordName(n.GetName()), Namespace: testRecords.Namespace, Annotations: annotations, Labels: map[string]string{testRecords.Label: "true"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.GetName(), UID: n.GetUID()}},
		},
	}
	text, err := json.Marshal(lease)
	if err != nil {
		return err
	}
	if err := s.Apply(ctx, text); err != nil {
		return err
	}
	// A read of what is now makes the server's memory catch up.
	if _, err := s.Resource(kubeapi.Leases, testRecords.Namespace).List(ctx, metav1.ListOptions{LabelSelector: testRecords.Label, Limit: 1}); err != nil {
		return err
	}
	return c.label(ctx, i, "true")
}

// label sets the label that says that a node has a record, or removes it: nil.
func (c cluster) label(ctx context.Context, i int, value any) error {
	return patch(ctx, c.agent, nodeName(i), "", map[string]any{"metadata": map[string]any{"labels": map[string]any{testRecords.Label: value}}})
}

// publish changes annotations as an agent does.
func (c cluster) publish(ctx context.Context, i int, annotations map[string]any) error {
	return patch(ctx, c.agent, nodeName(i), "status", map[string]any{"metadata": map[string]any{"annotations": annotations}})
}

// beat is the status update that a kubelet sends every five minutes when nothing
// has changed, and every ten seconds at most when something has.
func (c cluster) beat(ctx context.Context, i int) error {
	now := time.Now().UTC().Add(time.Duration(i) * time.Hour).Format(time.RFC3339) // each one another
	var all []any
	for _, kind := range []string{"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"} {
		all = append(all, map[string]any{"type": kind, "lastHeartbeatTime": now})
	}
	return patch(ctx, c.kubelet, nodeName(i), "status", map[string]any{"status": map[string]any{"conditions": all}})
}

func patch(ctx context.Context, c *rest.RESTClient, name, sub string, change any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	r := c.Patch(types.StrategicMergePatchType).Resource("nodes").Name(name)
	if sub != "" {
		r = r.SubResource(sub)
	}
	return r.Body(body).Do(ctx).Error()
}

// kubeletNode is what a kubelet of a cloud's machine registers, with the fifty
// images that it reports at most.
func kubeletNode(i int) *corev1.Node {
	has := corev1.ResourceList{
		"cpu": resource.MustParse("8"), "memory": resource.MustParse("32791868Ki"), "pods": resource.MustParse("110"),
		"ephemeral-storage": resource.MustParse("203056560Ki"), "hugepages-1Gi": resource.MustParse("0"), "hugepages-2Mi": resource.MustParse("0"),
	}
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: nodeName(i),
			Labels: map[string]string{
				"kubernetes.io/hostname": nodeName(i), "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
				"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
				"topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": "region-1a",
				"node.kubernetes.io/instance-type": "m5.2xlarge", "beta.kubernetes.io/instance-type": "m5.2xlarge",
			},
			Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
		},
		Spec: corev1.NodeSpec{ProviderID: "cloud:///region-1a/" + nodeName(i)},
		Status: corev1.NodeStatus{
			Capacity: has, Allocatable: has,
			Addresses: []corev1.NodeAddress{
				{Type: "InternalIP", Address: fmt.Sprintf("10.0.%d.%d", i>>8, i&255)}, {Type: "Hostname", Address: nodeName(i)},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}},
			NodeInfo: corev1.NodeSystemInfo{
				Architecture: "amd64", OperatingSystem: "linux", OSImage: "Debian GNU/Linux 13 (trixie)", KernelVersion: "6.12.48-amd64",
				ContainerRuntimeVersion: "containerd://2.1.4", KubeletVersion: "v1.36.3", MachineID: fmt.Sprintf("%032x", i*7919),
				SystemUUID: fmt.Sprintf("%036x", i*104729), BootID: fmt.Sprintf("%036x", i*1299709),
			},
		},
	}
	now := metav1.Now()
	for _, c := range [][3]string{
		{"MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
		{"DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
		{"PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
		{"Ready", "KubeletReady", "kubelet is posting ready status"},
	} {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
			Type: corev1.NodeConditionType(c[0]), Status: "False", Reason: c[1], Message: c[2], LastHeartbeatTime: now, LastTransitionTime: now,
		})
	}
	for k := range 50 {
		name := fmt.Sprintf("registry.example.com/team-%d/service-%d", k%7, (k*31+i)%500)
		digest := strings.Repeat(fmt.Sprintf("%08x", uint32((k*31+i)%500*2654435761)), 8)
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{
			Names: []string{name + "@sha256:" + digest, fmt.Sprintf("%s:v1.%d.0", name, k)}, SizeBytes: int64(20_000_000 + k*1_000_000),
		})
	}
	return n
}
