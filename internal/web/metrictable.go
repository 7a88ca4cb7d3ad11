// SPDX-License-Identifier: Apache-2.0

package web

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/percale-net/percale/internal/status"
)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// An emit takes one series of a metric: its value, and its labels in the metric's
// order.
type emit = func(value float64, labels ...string)

// series lists all. Names and labels are stable, and stand in docs/metrics.md.
func series() []metric {
	return slices.Concat(agentMetrics(), loopMetrics(), podMetrics())
}

func agentMetrics() []metric {
	return []metric{
		{"build_info", gauge, []string{"version"}, "Always 1.", func(s status.Status, e emit) { e(1, s.Version) }},
		{"ready", gauge, nil, "1 if the node's peers are in the kernel and pods can be added.", func(s status.Status, e emit) { e(number(s.Ready)) }},
		{"problem", gauge, []string{"part"}, "1 for each part that has a problem now; percale status says which.", func(s status.Status, e emit) {
			for _, p := range s.Problems {
				e(1, p.Part)
			}
		}},
		{"peers", gauge, []string{"state"}, "Nodes whose leases are believed (wanted), and those of them that are complete in the kernel (programmed).", func(s status.Status, e emit) {
			e(float64(s.Peers.Wanted), "wanted")
			e(float64(s.Peers.Programmed), "programmed")
		}},
		{"refused_leases", gauge, nil, "Leases that are not believed.", func(s status.Status, e emit) { e(float64(len(s.Refused))) }},
		{"store_connected", gauge, []string{"kind"}, "1 while etcd or the API server answers.", func(s status.Status, e emit) {
			e(number(s.Store.Synced && s.Store.Error == ""), s.Store.Kind)
		}},
		{"store_snapshot_timestamp_seconds", gauge, nil, "When the leases changed last, as far as this node knows.", func(s status.Status, e emit) {
			if !s.Store.At.IsZero() {
				e(seconds(s.Store.At))
			}
		}},
		{"lease_expiry_timestamp_seconds", gauge, nil, "When this node's lease ends unless it is renewed; absent if never.", func(s status.Status, e emit) {
			if !s.Expires.IsZero() {
				e(seconds(s.Expires))
			}
		}},
	}
}

func loopMetrics() []metric {
	loop := []string{"loop"}
	each := func(s status.Status, fn func(loop string, r status.Rounds)) {
		fn("kernel", s.Kernel)
		fn("firewall", s.Firewall.Rounds)
	}
	return []metric{
		{"rounds_total", counter, loop, "Comparisons of the kernel with what it should hold.", func(s status.Status, e emit) {
			each(s, func(loop string, r status.Rounds) { e(float64(r.Count), loop) })
		}},
		{"round_duration_seconds", gauge, loop, "What the last round took.", func(s status.Status, e emit) {
			each(s, func(loop string, r status.Rounds) { e(r.Took.Seconds(), loop) })
		}},
		{"kernel_writes_total", counter, nil, "Changes that the kernel was asked for.", func(s status.Status, e emit) { e(float64(s.Kernel.Writes)) }},
		{"repair_rounds_total", counter, loop, "Rounds that found something undone by others.", func(s status.Status, e emit) {
			each(s, func(loop string, r status.Rounds) { e(float64(r.Repaired), loop) })
		}},
		{"repairs_total", counter, []string{"loop", "kind", "cause"}, "Entries that others had undone, by kind and by how they were found.", func(s status.Status, e emit) {
			each(s, func(loop string, r status.Rounds) {
				for _, c := range r.Entries {
					e(float64(c.Count), loop, string(c.Kind), string(c.Cause))
				}
			})
		}},
		{"fights_total", counter, loop, "Times that another program began to undo our work again and again.", func(s status.Status, e emit) {
			each(s, func(loop string, r status.Rounds) { e(float64(r.Fights), loop) })
		}},
	}
}

func podMetrics() []metric {
	subnet := []string{"subnet"}
	each := func(s status.Status, fn func(subnet string, a status.Addresses)) {
		for _, a := range s.Addresses {
			fn(a.Subnet.String(), a)
		}
	}
	return []metric{
		{"pod_addresses", gauge, []string{"subnet", "state"}, "Pod addresses that are used, of these by sandboxes that no longer exist (stale), and just freed ones (resting).", func(s status.Status, e emit) {
			each(s, func(subnet string, a status.Addresses) {
				e(float64(a.Used), subnet, "used")
				e(float64(a.Stale), subnet, "stale")
				e(float64(a.Resting), subnet, "resting")
			})
		}},
		{"pod_addresses_capacity", gauge, subnet, "Addresses that pods of this node can have.", func(s status.Status, e emit) {
			each(s, func(subnet string, a status.Addresses) { e(float64(a.Total), subnet) })
		}},
		{"pod_addresses_full_timestamp_seconds", gauge, subnet, "When the subnet is full if it goes on like this; absent if that is not in sight.", func(s status.Status, e emit) {
			each(s, func(subnet string, a status.Addresses) {
				if !a.FullAt.IsZero() {
					e(seconds(a.FullAt), subnet)
				}
			})
		}},
		{"guarded_pods", gauge, nil, "Pods that can send from their own addresses alone.", func(s status.Status, e emit) { e(float64(s.Guards.Pods)) }},
		{"guard_dropped_packets_total", counter, []string{"reason"}, "Packets of pods that the guards dropped; begins anew when the rules are written anew.", func(s status.Status, e emit) {
			for _, why := range slices.Sorted(maps.Keys(s.Guards.Dropped)) {
				e(float64(s.Guards.Dropped[why]), why)
			}
		}},
		{"tunnel_refused_packets_total", counter, nil, "Tunnel packets that came from no known peer, or not from its pods; begins anew likewise.", func(s status.Status, e emit) {
			e(float64(s.Guards.Refused))
		}},
	}
}
