// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/netns"
)

// Whatever comes in, what goes out on failure is one error of the
// specification: all its keys and no other, in few words, with its code.
func TestErrorConforms(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	t.Run("calls", func(t *testing.T) { n.wantErrors(t, p) })
	n.wantNothing(t, p)
}

func (n node) wantErrors(t *testing.T, p netns.NS) {
	valid, err := json.Marshal(n.conf(nil))
	if err != nil {
		t.Fatal(err)
	}
	with := func(key string, value any) []byte {
		c := n.conf(nil)
		c[key] = value
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	deep := []byte(strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000))
	for _, tt := range []struct {
		name, verb, ifname string
		stdin              []byte
		code               uint
	}{
		{"no verb that exists", "FLY", "eth0", valid, 4},
		{"no interface", "ADD", "", valid, 4},
		{"nothing", "ADD", "eth0", nil, 6},
		{"garbage", "DEL", "eth0", []byte("\x00\xff\xfe{"), 6},
		{"two documents", "ADD", "eth0", append(slices.Clone(valid), valid...), 6},
		{"an array", "STATUS", "", []byte("[]"), 6},
		{"deep", "ADD", "eth0", deep, 6},
		{"deep prevResult", "CHECK", "eth0", with("prevResult", json.RawMessage(`{"cniVersion":"1.1.0","ips":[`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+`]}`)), 6},
		{"name of a megabyte", "ADD", "eth0", with("name", strings.Repeat("a", 1<<20)), 7},
		{"version of a megabyte", "ADD", "eth0", with("cniVersion", strings.Repeat("é", 1<<19)), 1},
		{"text of a megabyte for a number", "ADD", "eth0", with("delegate", conf{"mtu": strings.Repeat("1", 1<<20)}), 6},
		{"key of a megabyte", "ADD", "eth0", with("delegate", conf{strings.Repeat("k", 1<<20): 1}), 2},
		{"lines and control characters", "ADD", "eth0", with("delegate", conf{"bridge": "a\nb\x1b[31m\u2028"}), 7},
		{"no text", "ADD", "eth0", bytes.Replace(with("delegate", conf{"bridge": "BRIDGE/"}), []byte("BRIDGE"), []byte("\xff\xfe"), 1), 7},
		{"relative directory", "DEL", "eth0", with("ipam", conf{"dataDir": "../x"}), 7},
		{"attachments that are none", "GC", "", with("cni.dev/valid-attachments", []any{1, nil, "x"}), 6},
		{"a list of plugins", "ADD", "eth0", with("plugins", []any{}), 7},
		{"older version", "ADD", "eth0", bytes.Replace(with("plugins", []any{}), []byte("1.1.0"), []byte("0.4.0"), 1), 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := n.raw(t, call{tt.verb, "abc", p.Path(), tt.ifname, tt.stdin})
			if err == nil {
				t.Fatalf("success, and %q; want an error", out)
			}
			var got struct {
				CNIVersion, Msg, Details string
				Code                     uint
			}
			strict := json.NewDecoder(bytes.NewReader(out))
			strict.DisallowUnknownFields()
			if err := strict.Decode(&got); err != nil || strict.More() {
				t.Fatalf("printed %.300q, %v; want one error", out, err)
			}
			version := "1.1.0"
			if tt.name == "older version" {
				version = "0.4.0"
			}
			if got.Code != tt.code || got.Msg == "" || got.CNIVersion != version {
				t.Errorf("printed %.300q; want code %d, words, version %s", out, tt.code, version)
			}
			if len(out) > 2000 || strings.ContainsAny(got.Msg, "\n\x1b") {
				t.Errorf("%d bytes, %.300q; want one short line", len(out), got.Msg)
			}
		})
	}
}
