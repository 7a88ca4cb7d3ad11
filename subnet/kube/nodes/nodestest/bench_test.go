// SPDX-License-Identifier: Apache-2.0

package nodestest

import (
	"context"
	"fmt"
	"testing"

	"github.com/percale-net/percale/internal/lab/kubetest"
)

// minute is the part of all kubelets that send a status update within a minute
// when nothing changes on their nodes: they do so every five minutes.
const minute = 5

// BenchmarkWatch measures what it costs to know all Nodes: for the watcher and,
// beside it against the same server, for an informer of whole Nodes as client-go
// makes one, in its binary encoding; that asks for a stream at first, unless it
// is told to ask for a list. Each runs in a process of its own.
func BenchmarkWatch(b *testing.B) {
	s := kubetest.Start(b, kubetest.Options{})
	c, made := newCluster(b, s.Admin()), 0
	if err := s.Apply(b.Context(), []byte(namespaceYAML)); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c.each(b, n-made, func(ctx context.Context, i int) error {
				if err := c.join(ctx, made+i); err != nil {
					return err
				}
				return c.beat(ctx, made+i) // the first ones enlarge a Node
			})
			made = n
			for _, role := range []string{ours, informer, informerList} {
				report(b, startChild(b, role, s.Admin()), n, c)
			}
			c.each(b, n, func(ctx context.Context, i int) error { return c.record(ctx, s, i, recordOf(i)) })
			report(b, startChild(b, oursRecords, s.Admin()), n, c)
			c.each(b, n, func(ctx context.Context, i int) error { return c.label(ctx, i, nil) })
		})
	}
}

// report measures a child's list and a minute of kubelets' updates, and ends it.
func report(b *testing.B, p *child, n int, c cluster) {
	defer p.end(b)
	start, listed := p.answer(b), p.answer(b)
	metric := func(value float64, unit string) { b.ReportMetric(value, p.role+"-"+unit) }
	metric(float64(listed.Received)/1e6, "list-MB")
	metric(float64(listed.Received)/float64(n), "list-B/node")
	metric(1e3*(listed.CPU-start.CPU).Seconds(), "list-cpu-ms")
	c.each(b, n/minute, c.beat)
	after := p.settled(b)
	metric(float64(after.Received-listed.Received)/1e6, "MB/min")
	metric(float64(after.Received-listed.Received)/float64(n/minute), "B/update")
	metric(1e3*(after.CPU-listed.CPU).Seconds(), "cpu-ms/min")
	metric(float64(after.Heap-start.Heap)/1e6, "heap-MB")
	metric(float64(after.Peak-start.Peak)/1e6, "peak-MB")
	if (p.role == ours || p.role == oursRecords) && after.Calls != 1 {
		b.Errorf("%d snapshots; want 1, since kubelets' updates change nothing wanted", after.Calls)
	}
}
