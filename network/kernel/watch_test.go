// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

// watch starts Watch and returns a channel that holds at most one kick.
func (n node) watch(t *testing.T) <-chan struct{} {
	t.Helper()
	kicks := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- n.Watch(ctx, func() {
			select {
			case kicks <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Watch = %v; want nil after its context ended", err)
		}
	})
	awaitKick(t, kicks, "the beginning")
	return kicks
}

func awaitKick(t *testing.T, kicks <-chan struct{}, why string) {
	t.Helper()
	select {
	case <-kicks:
	case <-time.After(10 * time.Second):
		t.Errorf("no kick after %s", why)
	}
}

func TestWatchKicks(t *testing.T) {
	t.Parallel()
	n, _ := newOverlay(t, 2)
	other, err := Open(n.ns.Path()) // which has read nothing, so that all counts
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, w := range []node{n, {other, n.ns}} {
		for _, cmd := range [][2]string{
			{"ip", "link set flannel.1 mtu 1380"},
			{"ip", "addr del 10.0.0.0/32 dev flannel.1"},
			{"ip", "-6 addr del fd00::/128 dev flannel.1"},
			{"ip", "route del 10.0.1.0/24"},
			{"ip", "-6 route del fd00:0:0:1::/64"},
			{"ip", "neigh del 10.0.1.0 dev flannel.1"},
			{"ip", "-6 neigh del fd00:0:0:1:: dev flannel.1"},
			{"bridge", "fdb del " + mac(1).String() + " dev flannel.1"},
			{"ip", "link add br7 type bridge"},
			{"ip", "link del br7"},
		} {
			n.reach(t, scope, overlay(2))
			kicks := w.watch(t)
			n.run(t, cmd[0], cmd[1])
			awaitKick(t, kicks, cmd[1])
		}
	}
}

func TestWatchKicksWhenForwardingChanges(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, path := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		for _, value := range []string{"1", "0"} {
			kicks := n.watch(t)
			err := n.ns.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) })
			if err != nil {
				t.Fatal(err)
			}
			awaitKick(t, kicks, path+" was set to "+value)
		}
	}
}

// TestConcerns: neighbors of pods must not keep the agent busy.
func TestConcerns(t *testing.T) {
	t.Parallel()
	n, _ := newOverlay(t, 0)
	event := func(typ uint16, link string) []byte {
		var e encoder
		e.begin(typ, 0)
		e.neighHeader(unix.AF_INET, n.linkIndex(t, link), 0)
		e.end()
		return e.buf
	}
	ours, theirs := event(unix.RTM_NEWNEIGH, "flannel.1"), event(unix.RTM_DELNEIGH, "up0")
	route := event(unix.RTM_NEWROUTE, "up0")
	for _, test := range []struct {
		name string
		b    []byte
		want bool
	}{{"ours", ours, true}, {"of another link", theirs, false}, {"route", route, true}, {"both", append(theirs, ours...), true}} {
		if got := n.concerns(test.b); got != test.want {
			t.Errorf("%s: concerns = %v; want %v", test.name, got, test.want)
		}
	}
}

// TestWatchOverrun loses events: there must be a kick for them, and Watch must
// go on.
func TestWatchOverrun(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	f, err := n.listen()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048) }); err != nil {
		t.Fatal(err)
	}
	want := overlay(200)
	if err := n.Apply(t.Context(), network.Compare(n.read(t, scope), want)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var kicks int
	err = n.follow(ctx, f, func() {
		if kicks++; kicks == 3 {
			stop()
		}
	})
	if err != nil || kicks != 3 {
		t.Errorf("Watch = %v after %d kicks; want 3 and no error", err, kicks)
	}
}
