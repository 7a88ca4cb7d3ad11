// SPDX-License-Identifier: Apache-2.0

package web

import (
	"runtime"
	"runtime/metrics"

	"github.com/percale-net/percale/internal/status"
)

// addProcess fills in what the process itself costs at this moment.
func addProcess(s *status.Status) {
	s.Goroutines = runtime.NumGoroutine()
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, // mapped, and given back
	}
	metrics.Read(samples)
	s.MemoryBytes = samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
