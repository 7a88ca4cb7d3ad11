// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"testing"
)

// The configuration that is shipped is one that the plugin takes.
func TestShippedConflist(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../dist/10-percale.conflist")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Plugins []json.RawMessage }
	if err := json.Unmarshal(b, &list); err != nil || len(list.Plugins) == 0 {
		t.Fatalf("10-percale.conflist = %d plugins, %v; want at least one", len(list.Plugins), err)
	}
	if _, err := parseConfig(b); err == nil {
		t.Error("the list as a whole is taken for a plugin's configuration; want an error")
	}
	c, err := parseConfig(list.Plugins[0])
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.settings("")
	if want := (settings{bridge: "cni0", gateway: true, defaultRoute: true, hairpin: true}); err != nil || got.bridge != want.bridge ||
		!got.gateway || !got.defaultRoute || !got.hairpin {
		t.Errorf("settings = %+v, %v; want %+v", got, err, want)
	}
}
