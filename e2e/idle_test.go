// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
)

const (
	idlePeers   = 5000
	idleTime    = time.Minute
	idleSettled = 5 * time.Second // after the last peer is in the kernel
)

// clockTick is USER_HZ, in which /proc counts time: 100 a second on every
// architecture that Go runs on (proc_pid_stat(5)).
const clockTick = 10 * time.Millisecond

// BenchmarkIdle measures what an agent costs that has nothing to do: the time on
// a CPU, user's and system's, over a minute with many peers known.
func BenchmarkIdle(b *testing.B) {
	l := up(b, lab.Spec{Nodes: 1, NoWait: true, Conf: conf(`{"Network":"10.0.0.0/8"}`)})
	putLeases(b, l, idlePeers)
	a := l.Node(1).Agent(0)
	waitProgrammed(b, a, idlePeers)
	rest(b, idleSettled)
	for b.Loop() {
		before, from := ask(b, a), cpuTime(b, a.PID())
		began := time.Now()
		rest(b, idleTime)
		percent := 100 * float64(cpuTime(b, a.PID())-from) / float64(time.Since(began))
		after := ask(b, a)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(percent, "%-of-a-core")
		b.ReportMetric(float64(after.Kernel.Count-before.Kernel.Count), "rounds")
		fmt.Printf("\nidle with %d peers over %v: %.2f %% of one core, %d rounds of the kernel loop, %d of the firewall's; memory %.1f MB, %d goroutines\n",
			idlePeers, idleTime, percent, after.Kernel.Count-before.Kernel.Count, after.Firewall.Count-before.Firewall.Count,
			float64(after.MemoryBytes)/1e6, after.Goroutines)
	}
}

func ask(b *testing.B, a *lab.Agent) status.Status {
	b.Helper()
	s, err := a.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func rest(b *testing.B, d time.Duration) {
	b.Helper()
	select {
	case <-time.After(d):
	case <-b.Context().Done():
		b.Fatal(b.Context().Err())
	}
}

// cpuTime reads the time that a process has had so far: fields 14 and 15 of
// /proc/PID/stat, counted behind the name, which may hold anything.
func cpuTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}
