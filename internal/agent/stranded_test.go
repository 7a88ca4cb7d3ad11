// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/percale-net/percale/internal/config"
)

func TestStrandedPodsAreToldOfUntilTheyAreGone(t *testing.T) {
	a := New(config.Settings{RunDir: t.TempDir()}, "test", slog.New(slog.DiscardHandler))
	moved := errors.New("moved")
	ports := func(names ...string) map[string]bool {
		all := make(map[string]bool)
		for _, n := range names {
			all[n] = false // no hairpin
		}
		return all
	}
	if err := a.strandedFault(ports("veth1")); err != nil {
		t.Errorf("before any move: %v; want nothing", err)
	}
	a.strand(moved, ports("veth1", "veth2"))
	for _, step := range []struct {
		now  map[string]bool
		want error
	}{
		{ports("veth1", "veth2"), moved},
		{ports("veth2", "veth3"), moved},
		{ports("veth3"), nil},
		{ports("veth1", "veth3"), nil}, // another pod with a name of before
	} {
		if err := a.strandedFault(step.now); err != step.want {
			t.Errorf("with ports %v: %v; want %v", step.now, err, step.want)
		}
	}
}
