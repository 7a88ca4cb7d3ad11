// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/lab/kubeapi"
	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/status"
)

// A crowd is the cluster of the benchmark, and in each minute one kubelet of five
// renews its Node, as they do when nothing happens.
const (
	crowd   = 5000
	renewed = crowd / 5
)

// BenchmarkAgent measures an agent of a large cluster, all other nodes of which
// stand in the API server alone: memory and CPU time when it has every peer in
// the kernel, and over the minute after.
func BenchmarkAgent(b *testing.B) {
	l := labtest.Up(b, lab.Spec{
		Nodes: 1, Store: lab.StoreKube, Manifest: manifest, Conf: json.RawMessage(`{"Network":"10.0.0.0/8"}`),
	})
	admin, err := l.Kube()
	if err != nil {
		b.Fatal(err)
	}
	each(b, crowd-1, func(ctx context.Context, i int) error { return join(ctx, admin, i) })
	agent := l.Node(1).Agent(0)
	for b.Loop() {
		if err := agent.Kill(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := os.RemoveAll(agent.StateDir()); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := agent.Start(); err != nil {
			b.Fatal(err)
		}
		peers(b, agent)
		took, ready := time.Since(began), usage(b, agent.PID())
		minute := time.NewTimer(time.Minute)
		each(b, renewed, func(ctx context.Context, i int) error { return renew(ctx, admin, i) })
		<-minute.C
		later := usage(b, agent.PID())
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(took.Seconds(), "s-to-ready")
		b.ReportMetric(ready.rss, "MB-ready")
		b.ReportMetric(ready.cpu.Seconds(), "cpu-s-ready")
		b.ReportMetric(later.rss, "MB-after-1min")
		b.ReportMetric(later.peak, "MB-peak")
		b.ReportMetric((later.cpu - ready.cpu).Seconds(), "cpu-s/min")
	}
}

// each calls do for each of n nodes, some at once.
func each(b *testing.B, n int, do func(ctx context.Context, i int) error) {
	b.Helper()
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

func crowdName(i int) string { return fmt.Sprintf("ip-10-%d-%d.compute.internal", i>>8, i&255) }

// join makes a node of the crowd: what its kubelet, the cluster and its agent
// write.
func join(ctx context.Context, admin *kubeapi.Client, i int) error {
	up := netip.AddrFrom4([4]byte{172, 20, byte(i >> 8), byte(i)})
	pods := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(64 + i>>8), byte(i), 0}), 24)
	if err := admin.CreateNode(ctx, kubeapi.Node{Name: crowdName(i), Addrs: []netip.Addr{up}, PodCIDRs: []netip.Prefix{pods}}); err != nil {
		return err
	}
	says := map[string]any{
		flannel + "kube-subnet-manager": "true", flannel + "backend-type": "vxlan", flannel + "public-ip": up.String(),
		flannel + "backend-data": fmt.Sprintf(`{"VNI":1,"VtepMAC":"0e:00:00:00:%02x:%02x"}`, i>>8, i&255),
		subnetsKey:               pods.String(), "percale.io/subnet-source": "podCIDR",
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": says, "labels": map[string]any{recordLabel: "true"}}})
	if err != nil {
		return err
	}
	node, err := admin.Resource(kubeapi.Nodes, "").Patch(ctx, crowdName(i), types.MergePatchType, body, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	_, err = admin.Resource(kubeapi.Leases, kubeapi.Namespace).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": map[string]any{"holderIdentity": crowdName(i)},
		"metadata": map[string]any{
			"name": "node-" + crowdName(i), "annotations": says, "labels": map[string]any{recordLabel: "true"},
			"ownerReferences": []any{map[string]any{"apiVersion": "v1", "kind": "Node", "name": crowdName(i), "uid": string(node.GetUID())}},
		},
	}}, metav1.CreateOptions{})
	return err
}

// renew is what a kubelet writes every five minutes.
func renew(ctx context.Context, admin *kubeapi.Client, i int) error {
	body := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","lastHeartbeatTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	_, err := admin.Resource(kubeapi.Nodes, "").Patch(ctx, crowdName(i), types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return err
}

// peers waits until the kernel has every peer.
func peers(b *testing.B, a *lab.Agent) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), limit)
	defer cancel()
	err := a.Wait(ctx, func(s status.Status) error {
		if !s.Ready || s.Peers.Programmed != crowd-1 {
			return fmt.Errorf("ready %t, waiting for %q, %d peers in the kernel; want %d", s.Ready, s.Waiting, s.Peers.Programmed, crowd-1)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// A used is what a process has used so far.
type used struct {
	rss, peak float64 // resident memory, MB
	cpu       time.Duration
}

func usage(b *testing.B, pid int) (u used) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 3 && (f[0] == "VmRSS:" || f[0] == "VmHWM:") {
			kB, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			if u.peak = max(u.peak, kB*1024/1e6); f[0] == "VmRSS:" {
				u.rss = kB * 1024 / 1e6
			}
		}
	}
	if text, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // proc(5), from the third field
	for _, ticks := range f[11:13] {
		n, err := strconv.Atoi(ticks)
		if err != nil {
			b.Fatal(err)
		}
		u.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	return u
}
