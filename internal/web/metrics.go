// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/percale-net/percale/internal/status"
)

// Metrics returns the handler of /metrics, in Prometheus' text format: what the
// board says when it is asked, and what the process costs. How many series there
// are does not depend on the number of peers.
func Metrics(board *status.Board) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collector{board, series()},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// A metric is one family of series.
type metric struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
	read   func(status.Status, func(value float64, labels ...string))
}

// A collector reads metrics from a board. It may be used concurrently.
type collector struct {
	board   *status.Board
	metrics []metric
}

func (m metric) desc() *prometheus.Desc {
	return prometheus.NewDesc("percale_"+m.name, m.help, m.labels, nil)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		out <- m.desc()
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.board.Status()
	for _, m := range c.metrics {
		m.read(s, func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(m.desc(), m.kind, value, labels...)
		})
	}
}

// seconds is a moment as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
