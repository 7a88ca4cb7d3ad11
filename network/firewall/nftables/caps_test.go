// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"errors"
	"testing"

	nft "github.com/google/nftables"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/internal/netns/capstest"
	"github.com/percale-net/percale/network/firewall"
)

func TestWithCapsOfService(t *testing.T) {
	t.Parallel()
	var ns netns.NS
	if !capstest.Again() {
		ns = netns.Temp(t)
	}
	capstest.Run(t, ns, withCapsOfService)
}

func withCapsOfService(t *testing.T) {
	if err := Supported(""); err != nil {
		t.Errorf("Supported: %v", err)
	}
	f, err := Open("", "percale")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	started, done := make(chan struct{}, 100), make(chan error, 1)
	go func() { done <- f.Watch(ctx, func() { started <- struct{}{} }) }()
	select {
	case <-started:
	case err := <-done:
		t.Fatalf("Watch: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v; want %v", err, context.Canceled)
	}
	for _, want := range []int{1, 0} {
		if changed := f.mustSync(t, firewall.Rules(config())); len(changed) != want {
			t.Errorf("Sync changed %q; want %d things", changed, want)
		}
	}
	c := f.dial(t)
	others(c, nft.TableFamilyIPv4)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if changed := f.mustSync(t, firewall.Rules(config())); len(changed) != 1 || f.ForeignDrops() != nil {
		t.Errorf("Sync changed %q and left %v; want one chain of others to let pods through", changed, f.ForeignDrops())
	}
	c.DelTable(&nft.Table{Name: "site", Family: nft.TableFamilyIPv4})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Clear(t.Context()); err != nil {
		t.Errorf("Clear: %v", err)
	}
	if _, dump := f.state(t, all); dump != "" {
		t.Errorf("tables after Clear: %q; want none", dump)
	}
}
