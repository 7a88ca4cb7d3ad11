// SPDX-License-Identifier: Apache-2.0

package nodestest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apifields "k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/percale-net/percale/internal/lab/kubetest"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("NODES_ROLE"); role != "" {
		if err := watchAs(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(kubetest.Main(m))
}

// What a child of a benchmark watches with.
const (
	ours         = "ours"
	oursRecords  = "records"
	informer     = "informer"
	informerList = "informer-list"
)

// A child is a process that watches for a benchmark.
type child struct {
	role  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// A cost is what watching has cost so far.
type cost struct {
	Received   int64 // bytes
	Calls      int64 // snapshots
	CPU        time.Duration
	Heap, Peak int64 // bytes: in use after a collection; resident at most
}

func startChild(b *testing.B, role string, cfg *rest.Config) *child {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NODES_ROLE="+role,
		"NODES_HOST="+cfg.Host, "NODES_TOKEN="+cfg.BearerTokenFile, "NODES_CA="+cfg.CAFile)
	if role == informerList {
		cmd.Env = append(cmd.Env, "KUBE_FEATURE_WatchListClient=false")
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return &child{role, cmd, stdin, bufio.NewScanner(stdout)}
}

func (p *child) end(b *testing.B) {
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		b.Error(err)
	}
}

// answer returns the next cost that the child tells: at its start, when it knows
// all Nodes, and when it is asked.
func (p *child) answer(b *testing.B) (c cost) {
	b.Helper()
	if !p.lines.Scan() {
		b.Fatalf("the child %s has ended", p.role)
	}
	if err := json.Unmarshal(p.lines.Bytes(), &c); err != nil {
		b.Fatal(err)
	}
	return c
}

// settled returns the cost when no more is received.
func (p *child) settled(b *testing.B) cost {
	b.Helper()
	for last := int64(-1); ; {
		fmt.Fprintln(p.stdin)
		c := p.answer(b)
		if c.Received == last {
			return c
		}
		last = c.Received
		<-time.After(time.Second)
	}
}

// watchAs is the child: it watches until its input ends.
func watchAs(role string) error {
	cfg, received := counted(&rest.Config{
		Host: os.Getenv("NODES_HOST"), BearerTokenFile: os.Getenv("NODES_TOKEN"),
		TLSClientConfig: rest.TLSClientConfig{CAFile: os.Getenv("NODES_CA")},
	})
	calls := new(atomic.Int64)
	tell := func() {
		json.NewEncoder(os.Stdout).Encode(costNow(received.Load(), calls.Load()))
	}
	tell()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	synced := make(chan error, 2)
	switch role {
	case ours, oursRecords:
		own := nodes.Config{Client: cfg, Wanted: wantedByAll}
		if role == oursRecords {
			own.Records = testRecords
		}
		w, err := nodes.New(own)
		if err != nil {
			return err
		}
		go w.Run(ctx, func(nodes.Snapshot) {
			calls.Add(1)
			synced <- nil
		}, func(err error) { synced <- err })
	default:
		if err := runInformer(ctx, cfg, func() { synced <- nil }); err != nil {
			return err
		}
	}
	if err := <-synced; err != nil {
		return err
	}
	tell()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		tell()
	}
	return nil
}

// wantedByAll are the annotations that agents read.
func wantedByAll(key string) bool {
	return strings.HasPrefix(key, "percale.io/") || strings.HasPrefix(key, "flannel.alpha.coreos.com/")
}

// runInformer keeps whole Nodes, as an agent does that takes no care.
func runInformer(ctx context.Context, cfg *rest.Config, synced func()) error {
	c, err := typedClient(cfg, "agent")
	if err != nil {
		return err
	}
	i := cache.NewSharedIndexInformer(cache.NewListWatchFromClient(c, "nodes", "", apifields.Everything()), &corev1.Node{}, 0, nil)
	go i.Run(ctx.Done())
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), i.HasSynced) {
			synced()
		}
	}()
	return nil
}

func costNow(received, calls int64) cost {
	c := cost{Received: received, Calls: calls, CPU: cpuTime()}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Heap = int64(m.HeapAlloc)
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
			fmt.Sscan(after, &c.Peak)
			c.Peak *= 1024
		}
	}
	return c
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
