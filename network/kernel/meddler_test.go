// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/network"
)

// start runs a command to its end and returns its process.
func (n node) start(t *testing.T, args string) int {
	t.Helper()
	words := strings.Fields(args)
	cmd := exec.Command(words[0], words[1:]...)
	if err := errors.Join(n.ns.Start(cmd), cmd.Wait()); err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return cmd.Process.Pid
}

// overhear runs change, and lets blame see the events up to its end.
func (n node) overhear(t *testing.T, change func()) {
	t.Helper()
	f, err := n.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n.meddled.Store(nil)
	change()
	end := n.start(t, "ip addr replace 198.51.100.9/32 dev up0") // not ours, and told with its process
	for buf := make([]byte, 64<<10); ; {
		size, err := f.Read(buf)
		if err != nil {
			t.Fatalf("the last event has not come: %v", err)
		}
		for m := range messages(buf[:size]) {
			if int(m.port) == end {
				return
			}
		}
		n.blame(buf[:size], time.Now())
	}
}

// TestLastMeddler runs what strangers may do to what is ours and to the rest.
// What is known of their process is the kernel's business; see LastMeddler.
func TestLastMeddler(t *testing.T) {
	t.Parallel()
	n, _ := newOverlay(t, 4)
	for _, tt := range []struct {
		cmd    string
		blamed bool
	}{
		{"ip route del 10.0.1.0/24", true},
		{"ip route replace 10.0.2.0/24 metric 2 dev up0 proto 12", true}, // the place of one of ours
		{"ip route add 10.0.9.0/24 dev up0 proto 112", true},
		{"ip route add 10.0.9.0/24 via 10.0.9.0 onlink dev flannel.1 metric 9", true},
		{"ip -6 route del fd00:0:0:1::/64", true},
		{"ip -6 route replace fd00:0:0:2::/64 metric 2 dev up0 proto 12", true},
		{"ip neigh del 10.0.1.0 dev flannel.1", true},
		{"ip neigh replace 10.0.2.0 lladdr 02:00:00:00:00:77 dev flannel.1", true},
		{"ip -6 neigh del fd00:0:0:1:: dev flannel.1", true},
		{"ip addr del 10.0.0.0/32 dev flannel.1", true},
		{"ip addr add 10.0.0.9/32 dev flannel.1", true},

		{"ip -6 addr del fd00::/128 dev flannel.1", false},
		{"bridge fdb del " + mac(1).String() + " dev flannel.1", false},
		{"bridge fdb replace " + mac(2).String() + " dst 192.0.2.99 dev flannel.1", false},
		{"ip link set flannel.1 mtu 1300", false},
		{"ip link set flannel.1 down", false},

		{"ip route add 10.0.77.0/24 dev up0 proto 12", false}, // of a pod, perhaps
		{"ip route add 203.0.113.0/24 dev up0 proto 112", false},
		{"ip neigh replace 192.0.2.9 lladdr 02:00:00:00:00:77 dev up0", false},
		{"ip link add br7 type bridge", false},
		{"ip link del br7", false},
		{"ip link del flannel.1", false},
	} {
		var pid, want int
		n.overhear(t, func() { pid = n.start(t, tt.cmd) })
		if tt.blamed {
			want = pid
		}
		if _, got, at := n.LastMeddler(); got != want || at.IsZero() == tt.blamed {
			t.Errorf("%s: LastMeddler = %d, %v; want %d", tt.cmd, got, at, want)
		}
	}
}

// A tool is gone when anybody asks, but its name is not.
func TestLastMeddlerHasAName(t *testing.T) {
	t.Parallel()
	n, _ := newOverlay(t, 1)
	kicks := n.watch(t)
	// It lives until its input ends.
	cmd := exec.Command("ip", "-batch", "-")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = n.ns.Start(cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(in, "route del 10.0.1.0/24\n")
	name, pid, at := n.LastMeddler()
	for ; err == nil && at.IsZero() && !t.Failed(); name, pid, at = n.LastMeddler() {
		awaitKick(t, kicks, "a route was deleted") // or what else the kernel tells of
	}
	if err := errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("ip, child of %d (", os.Getpid()); pid != cmd.Process.Pid || !strings.HasPrefix(name, want) {
		t.Errorf("LastMeddler = %q, %d; want %q…, %d", name, pid, want, cmd.Process.Pid)
	}
}

// Our own changes are nobody's meddling, be they deletions or repairs.
func TestLastMeddlerIsNotOurselves(t *testing.T) {
	t.Parallel()
	n, _ := newOverlay(t, 3)
	n.overhear(t, func() {
		for _, want := range []network.State{overlay(1), overlay(5)} {
			n.reach(t, scope, want)
		}
	})
	if _, pid, at := n.LastMeddler(); !at.IsZero() {
		t.Errorf("LastMeddler = %d at %v; want none", pid, at)
	}
}

// A route of others that has taken the place of ours is told beside what is
// ours, and is nothing to delete.
func TestReadTellsOfRoutesOfOthers(t *testing.T) {
	t.Parallel()
	n, _ := newOverlay(t, 1)
	n.ip(t, "route replace 10.0.1.0/24 metric 1 dev up0 proto 12")
	n.ip(t, "route add 203.0.113.0/24 dev up0 proto 12") // outside of our networks
	n.ip(t, "route add 10.0.7.0/24 dev up0")
	got := n.read(t, scope)
	for r, want := range map[string]network.Route{
		"10.0.1.0/24": {Metric: 1, Link: "up0", Protocol: 12},
		"10.0.7.0/24": {Link: "up0", Protocol: 3},
	} {
		want.Dst = netip.MustParsePrefix(r)
		if have := got.Others[want.Key()]; have != want {
			t.Errorf("Others has %+v for %s; want %+v", have, r, want)
		}
	}
	if len(got.Others) != 2 {
		t.Errorf("Others = %v; want two", got.Others)
	}
	if c := network.Compare(got, overlay(1)); len(c.DelRoutes) != 0 || len(c.SetRoutes) != 1 {
		t.Errorf("to do: %v; want one route set", c)
	}
}
