// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
)

// busy is a status in which every metric has a series.
func busy() status.Status {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := status.Status{
		Version: "v1", Ready: true, Expires: noon.Add(time.Hour),
		Peers:   status.PeerCount{Wanted: 3, Programmed: 2},
		Refused: []status.Refusal{{Lease: "a"}},
		Store:   status.Store{Kind: status.Kube, Synced: true, At: noon},
		Addresses: []status.Addresses{{
			Subnet: netip.MustParsePrefix("10.244.3.0/24"), Used: 205, Total: 253, Stale: 12, Resting: 4, FullAt: noon.Add(3 * time.Hour),
		}},
		Guards: status.Guards{Pods: 5, Refused: 2, Dropped: map[string]uint64{"redirect": 1, "source": 7}},
	}
	s.Kernel = status.Rounds{Count: 12, Took: 41 * time.Millisecond, Writes: 99}
	s.Kernel.Add([]network.UndoneCount{{Kind: "route", Cause: network.Missing, Count: 4}})
	s.Problems = []status.Problem{{Part: "store", Seen: "no answer"}}
	return s
}

func TestMetrics(t *testing.T) {
	w := httptest.NewRecorder()
	Health(status.NewBoard(busy()), func() error { return nil }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := w.Body.String()
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics = %d: %s", w.Code, body)
	}
	for _, want := range []string{
		`percale_build_info{version="v1"} 1`,
		`percale_ready 1`,
		`percale_problem{part="store"} 1`,
		`percale_peers{state="programmed"} 2`,
		`percale_peers{state="wanted"} 3`,
		`percale_refused_leases 1`,
		`percale_store_connected{kind="kube"} 1`,
		`percale_lease_expiry_timestamp_seconds 1.7953524e+09`,
		`percale_rounds_total{loop="kernel"} 12`,
		`percale_round_duration_seconds{loop="kernel"} 0.041`,
		`percale_repairs_total{cause="missing",kind="route",loop="kernel"} 4`,
		`percale_repair_rounds_total{loop="kernel"} 1`,
		`percale_kernel_writes_total 99`,
		`percale_pod_addresses{state="used",subnet="10.244.3.0/24"} 205`,
		`percale_pod_addresses{state="stale",subnet="10.244.3.0/24"} 12`,
		`percale_pod_addresses_capacity{subnet="10.244.3.0/24"} 253`,
		`percale_pod_addresses_full_timestamp_seconds{subnet="10.244.3.0/24"} 1.7953596e+09`,
		`percale_guard_dropped_packets_total{reason="source"} 7`,
		`percale_tunnel_refused_packets_total 2`,
		"process_resident_memory_bytes ",
		"go_goroutines ",
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

// A new node's status has no series that would be made up.
func TestMetricsOfNothing(t *testing.T) {
	names := []string{"percale_lease_expiry_timestamp_seconds", "percale_store_snapshot_timestamp_seconds", "percale_pod_addresses"}
	r := registry(t, status.Status{})
	if n, err := testutil.GatherAndCount(r, names...); err != nil || n != 0 {
		t.Errorf("%d series of %v, %v; want none", n, names, err)
	}
}

// Names follow Prometheus' conventions, each is one, and has series.
func TestMetricNames(t *testing.T) {
	r := registry(t, busy())
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint says %v, %v", problems, err)
	}
	for _, m := range series() {
		if n, err := testutil.GatherAndCount(r, "percale_"+m.name); err != nil || n == 0 {
			t.Errorf("%s has %d series, %v; want some", m.name, n, err)
		}
	}
}

func registry(t *testing.T, s status.Status) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector{status.NewBoard(s), series()})
	return r
}

// The page lists just the metrics that there are, with their labels.
func TestMetricsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(percale_[^`]+)` \\| (gauge|counter) ").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, m[1]+" "+m[2])
	}
	for _, m := range series() {
		line := "percale_" + m.name
		if len(m.labels) > 0 {
			line += "{" + strings.Join(m.labels, ", ") + "}"
		}
		want = append(want, line+" "+map[prometheus.ValueType]string{gauge: "gauge", counter: "counter"}[m.kind])
	}
	if !slices.Equal(listed, want) {
		t.Errorf("docs/metrics.md lists\n%s\nwant\n%s", strings.Join(listed, "\n"), strings.Join(want, "\n"))
	}
}
