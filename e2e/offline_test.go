// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/lab"
	"github.com/percale-net/percale/internal/status"
)

// TestRebootWithoutEtcd takes from a node all that a reboot takes, while etcd is
// down. Its agent works by what it finds on disk, and says so: the node reaches
// its peers, heals, and gets new pods. What the disk may not know is left alone
// until etcd is back.
func TestRebootWithoutEtcd(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Spec{Nodes: 2, Pods: 1, Families: lab.Dual})
	n := l.Node(1)
	a := n.Agent(0)
	before := dataPlane(t, n)
	eventually(t, func() error { return cacheHolds(l, a.Args()) })
	err := errors.Join(l.StopEtcd(t.Context()), a.Kill(t.Context()), os.RemoveAll(a.RunDir()), os.Remove(a.SubnetFile()))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"ip link delete flannel.1", "ip link delete flannel-v6.1", "iptables -w -t nat -F"} {
		output(t, n.NS(), command)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, n, worksByCache)
	if text := percale(t, l.Node(1), "status"); !strings.Contains(text, "cached, ") {
		t.Errorf("percale status:\n%s\nwant it to say how old its cached leases are", text)
	}
	if _, err := n.AddPod(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	prove(t, l)
	if err := same(before, dataPlane(t, n)); err != nil {
		t.Errorf("by cache: %v", err)
	}

	output(t, n.NS(), "ip link delete flannel.1")
	eventually(t, func() error { return same(before, dataPlane(t, n)) })
	unknown := "10.244.250.0/24 via 10.244.250.0 dev flannel.1 proto 112 metric 251 onlink"
	output(t, n.NS(), "ip route add "+unknown)
	ticks(t, n, 2)
	if routes := output(t, n.NS(), "ip route show proto 112"); !strings.Contains(routes, "10.244.250.0/24") {
		t.Errorf("routes by cache:\n%s\nwant the one that the cache may not know still there", routes)
	}
	pid := a.PID()
	if err := l.StartEtcd(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, n, worksByStore)
	eventually(t, func() error { return same(before, dataPlane(t, n)) })
	if a.PID() != pid {
		t.Errorf("the agent is process %d; want %d, as before etcd came back", a.PID(), pid)
	}
	prove(t, l)
}

// cacheHolds reports as an error that an agent has not written its peers down.
func cacheHolds(l *lab.Lab, args []string) error {
	for _, arg := range args {
		if dir, ok := strings.CutPrefix(arg, "--state-dir="); ok {
			b, err := os.ReadFile(dir + "/peers.json")
			for _, n := range l.Nodes() {
				if err == nil && !strings.Contains(string(b), `"`+n.Name()+`"`) {
					err = fmt.Errorf("%s is not in the cache:\n%s", n.Name(), b)
				}
			}
			return err
		}
	}
	return fmt.Errorf("no --state-dir in %q", args)
}

func worksByCache(s status.Status) error {
	if !s.Ready || !s.Store.Cached || s.Store.Error == "" || s.Store.At.After(time.Now()) || s.Peers.Programmed != 1 {
		return fmt.Errorf("ready %v (%s), store %+v, peers %+v; want ready with 1 peer by the cache", s.Ready, s.Waiting, s.Store, s.Peers)
	}
	return nil
}

func worksByStore(s status.Status) error {
	if !s.Ready || s.Store.Cached || !s.Store.Synced || len(s.Problems) > 0 {
		return fmt.Errorf("ready %v (%s), store %+v, problems %v; want ready by the store", s.Ready, s.Waiting, s.Store, s.Problems)
	}
	return nil
}

// number is what a device that was made anew has another one of.
var number = regexp.MustCompile(`(?m)^\d+: `)

// same reports as an error that the data plane is not as it was, in whatever
// order.
func same(before, after string) error {
	lines := func(s string) []string {
		return slices.Sorted(strings.Lines(number.ReplaceAllString(s, "")))
	}
	if !slices.Equal(lines(before), lines(after)) {
		return fmt.Errorf("data plane:\n%s\nwant as before:\n%s", after, before)
	}
	return nil
}

// ticks waits for that many more rounds of the kernel loop, which are kicked.
func ticks(t *testing.T, n *lab.Node, more int) {
	t.Helper()
	first := -1
	await(t, n, func(s status.Status) error {
		if first < 0 {
			first = s.Kernel.Count
		}
		if s.Kernel.Count < first+more {
			output(t, n.NS(), "ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev flannel.1 nud permanent")
			output(t, n.NS(), "ip neigh del 192.0.2.1 dev flannel.1")
			return fmt.Errorf("%d rounds; want %d", s.Kernel.Count, first+more)
		}
		return nil
	})
}
