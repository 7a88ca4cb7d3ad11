// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/percale-net/percale/internal/lab/labtest"
	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
)

// The configuration that is measured unless PERCALE_CNI_CONFLIST names a file
// with another one. $DIR stands for a directory of the benchmark's, which holds
// subnet.env.
const cniConflist = `{
	"cniVersion": "1.0.0", "name": "bench",
	"plugins": [{
		"type": "percale-cni", "subnetFile": "$DIR/subnet.env", "runDir": "$DIR/run",
		"delegate": {"hairpinMode": true, "isDefaultGateway": true}, "ipam": {"dataDir": "$DIR/networks"}
	}]
}`

// The agent masquerades for all pods where FLANNEL_IPMASQ is true.
const cniSubnet = `FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.4.1/22
FLANNEL_MTU=1450
FLANNEL_IPMASQ=%s
`

// BenchmarkCNI measures ADD and DEL as a runtime calls them: a list of plugins,
// run through libcni, one call at a time and 16 at once. Beside them stands what
// a process takes that does nothing (VERSION), and the kernel for the work alone
// (floor+, floor-): a veth pair with an end in a pod and one on a bridge, an
// address and a route, and its deletion. PERCALE_CNI_CONFLIST and PERCALE_CNI_PATH (a
// list of directories) choose other plugins, PERCALE_CNI_PODS another number of
// pods than 200, PERCALE_CNI_IPMASQ=false lets the plugin masquerade.
func BenchmarkCNI(b *testing.B) {
	table := "\n at once  verb          p50        p99       mean        CPU\n"
	for _, atOnce := range []int{1, 16} {
		b.Run(fmt.Sprintf("atonce=%d", atOnce), func(b *testing.B) {
			n := newCNINode(b)
			pods := make([]netns.NS, n.pods)
			for i := range pods {
				pods[i] = netns.Temp(b)
			}
			for b.Loop() {
				n.measure(b, &table, atOnce, "VERSION", func(int) error { return n.version(b.Context()) })
				n.measure(b, &table, atOnce, "floor+", func(i int) error { return n.floorAdd(i, pods[i]) })
				n.measure(b, &table, atOnce, "floor-", func(i int) error { return n.floorDel(b.Context(), i) })
				n.measure(b, &table, atOnce, "ADD", func(i int) error { return n.add(b.Context(), i, pods[i]) })
				n.measure(b, &table, atOnce, "DEL", func(i int) error { return n.del(b.Context(), i, pods[i]) })
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	fmt.Println(table)
}

// A cniNode is a namespace with a list of plugins.
type cniNode struct {
	netns.NS
	pods int
	path []string
	list *libcni.NetworkConfigList
	cni  *libcni.CNIConfig
	host *kernel.Conn
}

func newCNINode(b *testing.B) *cniNode {
	b.Helper()
	n := &cniNode{NS: netns.Temp(b), path: []string{labtest.Bin(b)}}
	n.pods, _ = strconv.Atoi(cmp.Or(os.Getenv("PERCALE_CNI_PODS"), "200"))
	dir, conf := b.TempDir(), []byte(cniConflist)
	env := fmt.Sprintf(cniSubnet, cmp.Or(os.Getenv("PERCALE_CNI_IPMASQ"), "true"))
	if err := os.WriteFile(filepath.Join(dir, "subnet.env"), []byte(env), 0o644); err != nil {
		b.Fatal(err)
	}
	if file := os.Getenv("PERCALE_CNI_CONFLIST"); file != "" {
		var err error
		if conf, err = os.ReadFile(file); err != nil {
			b.Fatal(err)
		}
	}
	if path := os.Getenv("PERCALE_CNI_PATH"); path != "" {
		n.path = filepath.SplitList(path)
	}
	var err error
	if n.list, err = libcni.ConfListFromBytes([]byte(strings.ReplaceAll(string(conf), "$DIR", dir))); err != nil {
		b.Fatal(err)
	}
	n.cni = libcni.NewCNIConfigWithCacheDir(n.path, filepath.Join(dir, "cache"), nil)
	if n.host, err = kernel.Open(n.Path()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.host.Close() })
	if err := n.host.Apply(b.Context(), network.Changes{SetLinks: []network.Link{{Name: "floor", Kind: network.KindBridge, Up: true}}}); err != nil {
		b.Fatal(err)
	}
	return n
}

// floorDel is the inverse of floorAdd. Most of its time the kernel waits until no
// processor uses the links any more, with its answer but without its lock.
func (n *cniNode) floorDel(ctx context.Context, i int) error {
	host, err := kernel.Open("") // one socket would make all wait for each
	if err != nil {
		return err
	}
	defer host.Close()
	return host.DelLink(ctx, fmt.Sprint("floor", i))
}

// floorAdd does in this process what ADD needs of the kernel at least.
func (n *cniNode) floorAdd(i int, ns netns.NS) error {
	pod, err := kernel.Open(ns.Path())
	if err != nil {
		return err
	}
	defer pod.Close()
	port := network.Link{Name: fmt.Sprint("floor", i), Master: "floor", Up: true}
	inside := network.NewState()
	inside.Links["eth0"] = network.Link{Name: "eth0", Up: true}
	a := network.Address{Link: "eth0", Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 16)}
	inside.Addresses[a] = a
	r := network.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.9.255.1"), Link: "eth0", Protocol: network.Protocol}
	inside.Routes[r.Key()] = r
	return errors.Join(kernel.AddVeth(n.host, port, pod, network.Link{Name: "eth0"}), pod.Wire("eth0", inside))
}

func (n *cniNode) runtimeConf(i int, pod netns.NS) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: fmt.Sprintf("pod%d", i), NetNS: pod.Path(), IfName: "eth0"}
}

func (n *cniNode) add(ctx context.Context, i int, pod netns.NS) error {
	_, err := n.cni.AddNetworkList(ctx, n.list, n.runtimeConf(i, pod))
	return err
}

func (n *cniNode) del(ctx context.Context, i int, pod netns.NS) error {
	return n.cni.DelNetworkList(ctx, n.list, n.runtimeConf(i, pod))
}

// version runs the first plugin for nothing but its start.
func (n *cniNode) version(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(n.path[0], n.list.Plugins[0].Network.Type))
	cmd.Env = []string{"CNI_COMMAND=VERSION"}
	return cmd.Run()
}

// measure calls fn for each pod, so many at once, and reports how long a call
// took.
func (n *cniNode) measure(b *testing.B, table *string, atOnce int, verb string, fn func(i int) error) {
	b.Helper()
	took := make([]time.Duration, n.pods)
	before := cpu(b)
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			err := n.Do(func() (err error) { // the plugins start in the namespace of this thread
				for i := range next {
					began := time.Now()
					err = errors.Join(err, fn(i))
					took[i] = time.Since(began)
				}
				return err
			})
			if err != nil {
				b.Errorf("%s: %v", verb, err)
			}
		})
	}
	for i := range n.pods {
		next <- i
	}
	close(next)
	wg.Wait()
	slices.Sort(took)
	var sum time.Duration
	for _, t := range took {
		sum += t
	}
	ms := func(t time.Duration) float64 { return float64(t.Microseconds()) / 1000 }
	used := ms((cpu(b) - before) / time.Duration(n.pods))
	p50, p99 := ms(took[n.pods/2]), ms(took[n.pods*99/100])
	b.ReportMetric(p50, verb+"-p50-ms")
	b.ReportMetric(p99, verb+"-p99-ms")
	b.ReportMetric(used, verb+"-cpu-ms")
	*table += fmt.Sprintf("%8d  %-7s %7.2f ms %7.2f ms %7.2f ms %7.2f ms\n", atOnce, verb, p50, p99, ms(sum/time.Duration(n.pods)), used)
}

// cpu returns the processor time of this process and of those that it ran and
// that have ended: of the figures, the one that the machine's other work disturbs
// least.
func cpu(b *testing.B) (used time.Duration) {
	b.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		used += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return used
}
