// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/internal/netns/capstest"
	"github.com/percale-net/percale/network/pod"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	ns, g := netns.Temp(t), NewTunnel("percale")
	ctx, cancel := context.WithCancel(t.Context())
	kicks, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		ended <- ns.Do(func() error { return g.Watch(ctx, func() { kicks <- struct{}{} }) })
	}()
	kicked := func(what string) {
		t.Helper()
		select {
		case <-kicks:
		case <-time.After(10 * time.Second):
			t.Fatalf("no kick %s", what)
		}
	}
	kicked("at start")
	// Changes of others do not kick, or the tunnel's first would be many.
	do(t, ns, func() error { _, err := NewTunnel("other").Sync(rules(), peers(), false); return err })
	if len(kicks) != 0 {
		t.Error("a table of others kicked")
	}
	do(t, ns, func() error { _, err := g.Sync(rules(), peers(), false); return err })
	kicked("when the table of the tunnel changed")
	do(t, ns, func() error { return AddPod(senders()[0]) })
	kicked("when a pod came")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v; want that it was cancelled", err)
	}
}

func TestWithCapsOfService(t *testing.T) {
	t.Parallel()
	var ns netns.NS
	if !capstest.Again() {
		ns = netns.Temp(t)
	}
	capstest.Run(t, ns, func(t *testing.T) {
		g, p := NewTunnel("percale"), Pods{}
		if _, err := g.Sync(rules(), crowd(3000), false); err != nil {
			t.Error(err)
		}
		if err := g.Admit(rules(), origins("192.0.2.77", "10.244.77.0/24")); err != nil {
			t.Error(err)
		}
		if _, err := p.Sync(many(250), time.Now()); err != nil {
			t.Error(err)
		}
		if missing, err := CheckPod(many(250)[249]); err != nil || missing != nil {
			t.Errorf("CheckPod = %q, %v; want nothing missing", missing, err)
		}
		if _, err := g.Refusals(); err != nil {
			t.Error(err)
		}
		was, err := g.Clear()
		if err != nil || !was {
			t.Errorf("Clear = %v, %v; want a table cleared", was, err)
		}
		if was, err := ClearPods(); err != nil || !was {
			t.Errorf("ClearPods = %v, %v; want tables cleared", was, err)
		}
	})
}

func TestPrune(t *testing.T) {
	t.Parallel()
	ns := netns.Temp(t)
	var asked []string
	prune := func(gone ...string) {
		t.Helper()
		do(t, ns, func() error {
			return Prune(func(ports []string) ([]string, error) {
				asked = ports
				return gone, nil
			})
		})
	}
	prune("vetha")
	if len(asked) != 0 {
		t.Errorf("Prune without tables asked for %q; want nothing", asked)
	}
	for _, s := range senders() {
		do(t, ns, func() error { return AddPod(s) })
	}
	prune("vetha", "vethx")
	if len(asked) != 2 {
		t.Errorf("Prune asked for %q; want both pods", asked)
	}
	for i, s := range senders() {
		do(t, ns, func() error {
			missing, err := CheckPod(s)
			if (missing != nil) != (i == 0) {
				t.Errorf("CheckPod of %s = %q; want the first one gone alone", s.Port, missing)
			}
			return err
		})
	}
	failed := errors.New("no links")
	do(t, ns, func() error {
		if err := Prune(func([]string) ([]string, error) { return nil, failed }); !errors.Is(err, failed) {
			t.Errorf("Prune = %v; want the error", err)
		}
		return nil
	})
}

// BenchmarkAddPod measures what a guard adds to an ADD.
func BenchmarkAddPod(b *testing.B) {
	ns := netns.Temp(b)
	one := func(fn func(pod.Sender) error, s pod.Sender) {
		b.Helper()
		do(b, ns, func() error { return fn(s) })
	}
	for _, s := range many(250) {
		one(AddPod, s)
	}
	s := sender("vethnew", macNode, addrN, addrN6)
	for b.Loop() {
		one(AddPod, s)
	}
}

// What a month of lost pods left goes in several transactions.
func TestPruneMany(t *testing.T) {
	t.Parallel()
	ns := netns.Temp(t)
	var g Pods
	all := many(2500)
	do(t, ns, func() error {
		_, err := g.Sync(all, time.Now())
		return err
	})
	for _, want := range []int{len(all), 1} {
		do(t, ns, func() error {
			return Prune(func(ports []string) ([]string, error) {
				if len(ports) != want {
					t.Errorf("Prune asked for %d ports; want %d", len(ports), want)
				}
				return slices.DeleteFunc(slices.Clone(ports), func(p string) bool { return p == all[0].Port }), nil
			})
		})
	}
}
