// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
)

// What another version, another plugin or a broken disk left in the address
// directory keeps no pod from its address and from being deleted; or ADD names
// the file that is in its way, and leaves nothing.
func TestStateOfAnotherVersion(t *testing.T) {
	t.Parallel()
	garbage := "\x00\xff{\"version\": 9}\n" + strings.Repeat("x", 100)
	for _, tt := range []struct {
		name string
		file string // below the directory; with a "/" at its end: a directory
		code uint   // of ADD; 0: it works
	}{
		{name: "boot", file: "percale.boot"},
		{name: "last address", file: "last_reserved_ip.0"},
		{name: "freed", file: "percale.freed"},
		{name: "ranges", file: "percale.ranges"},
		{name: "ranges as a directory", file: "percale.ranges/"},
		{name: "an owner", file: "percale.owners/0123456789abcdef"},
		{name: "something new", file: "percale.new"},
		{name: "something of a new host-local", file: "state.json"},
		{name: "an address whose owner is none", file: "10.42.7.2"},
		{name: "freed as a directory", file: "percale.freed/"},
		{name: "last address as a directory", file: "last_reserved_ip.0/"},
		{name: "boot as a directory", file: "percale.boot/", code: 5},
		{name: "lock as a directory", file: "lock/", code: 5},
		{name: "owners as a file", file: "percale.owners", code: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envV4), netns.Temp(t)
			name := "networks/pods/" + tt.file
			if dir, ok := strings.CutSuffix(name, "/"); ok {
				if err := os.MkdirAll(filepath.Join(n.dir, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			} else {
				n.writeFile(t, name, garbage)
			}
			before := len(n.reserved(t))
			c := n.conf(nil)
			_, err := n.add(t, "abc", p, c)
			if tt.code != 0 {
				wantError(t, "ADD", err, tt.code, filepath.Join(n.dir, strings.TrimSuffix(name, "/")))
			} else if err != nil {
				t.Errorf("ADD = %v; want success", err)
			}
			if err := n.del(t, "abc", p.Path(), c); err != nil && tt.code == 0 {
				t.Errorf("DEL = %v; want success", err)
			}
			if got := links(t, p); len(got) > 0 || len(n.reserved(t)) != before {
				t.Errorf("left: links of the pod %v, reserved %v; want none, %d", got, n.reserved(t), before)
			}
		})
	}
}
