// SPDX-License-Identifier: Apache-2.0

package cnifiles

import (
	"os"
	"strings"
	"testing"
)

const list = `{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"type":"percale-cni"},{"type":"portmap"}]}`

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ conf, want string }{
		{list, ""},
		{strings.Replace(list, "percale-cni", "flannel", 1), ""},
		{strings.Replace(list, "percale-cni", "calico", 1), `want one with "type": "percale-cni" among them`},
		{`{"cniVersion":"1.0.0","type":"percale-cni","name":"cbr0"}`, `its plugins are []`},
		{`{"cniVersion":"1.0.0","name":"cbr0","plugins":[{"typ":"percale-cni"}]}`, `missing 'type'`},
		{`{"cniVersion":"1.0.0","name":"cbr0","plugins":{"type":"percale-cni"}}`, `invalid 'plugins'`},
		{`{"cniVersion":"1.0.0","plugins":[{"type":"percale-cni"}]}`, `no name`},
		{`{"cniVersion":"1.0.0","name":"","plugins":[{"type":"percale-cni"}]}`, `"name" is empty`},
		{`{"name":"cbr0","plugins":[{"type":"percale-cni"}]}`, `"cniVersion" is missing`},
		{``, `want a CNI configuration list`},
		{list + strings.Repeat(" ", maxConf), `more than 256 KiB`},
	} {
		err := Check([]byte(tt.conf))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Check(%.90s) = %v; want %q", tt.conf, err, tt.want)
		}
	}
}

// The list that is shipped is one that is taken.
func TestCheckShipped(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../dist/" + Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(b); err != nil {
		t.Error(err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{list, `{"plugins":[null]}`, `{"name":1}`, `[`, `{"type":"multus"}`, "\xff"} {
		f.Add("10-x.conflist", []byte(s))
		f.Add("10-x.conf", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		plugins, err := pluginsOf(name, b)
		if err != nil && plugins != nil {
			t.Errorf("pluginsOf(%q) = %q, %v; want none with an error", b, plugins, err)
		}
		if Check(b) == nil {
			if plugins, err := pluginsOf(Name, b); err != nil || !(Rival{Plugins: plugins}).Serves() {
				t.Errorf("%q passes as ours and calls %q, %v", b, plugins, err)
			}
		}
	})
}
