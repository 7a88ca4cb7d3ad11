// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"maps"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	assert := func(want map[string]string) {
		t.Helper()
		got, err := n.Aliases(t.Context())
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("Aliases = %q, %v; want %q", got, err, want)
		}
		for _, name := range []string{"up0", "far0", "absent", strings.Repeat("x", 20)} {
			if got, err := n.Alias(t.Context(), name); err != nil || got != want[name] {
				t.Errorf("Alias(%s) = %q, %v; want %q", name, got, err, want[name])
			}
		}
	}
	assert(map[string]string{})
	long := strings.Repeat("a", 255)
	for name, alias := range map[string]string{"up0": "percale and more", "far0": long} {
		if err := n.SetAlias(t.Context(), name, alias); err != nil {
			t.Fatal(err)
		}
	}
	assert(map[string]string{"up0": "percale and more", "far0": long})
	if err := n.SetAlias(t.Context(), "far0", ""); err != nil {
		t.Fatal(err)
	}
	assert(map[string]string{"up0": "percale and more"})
	if err := n.SetAlias(t.Context(), "absent", "x"); err == nil {
		t.Error("SetAlias of an absent link succeeded; want an error")
	}
	if err := n.SetAlias(t.Context(), "up0", long+"a"); err == nil {
		t.Error("SetAlias of 256 bytes succeeded; want an error")
	}
}
