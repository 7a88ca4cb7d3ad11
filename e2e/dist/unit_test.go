// SPDX-License-Identifier: Apache-2.0

package dist

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const unit = "../../dist/percaled.service"

// TestUnit has systemd read the unit, with the binary where it is to be.
func TestUnit(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "/usr/local/bin/percaled", bin(t, "percaled"))
	path := filepath.Join(t.TempDir(), "percaled.service")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "systemd-analyze", "verify", "--man=no", path); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
}

// TestUnitIsConfined bounds what systemd counts as exposed: 96 of 100 are a
// service without any setting.
func TestUnitIsConfined(t *testing.T) {
	t.Parallel()
	run(t, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=30", unit)
}

// TestFlagsExist wants percaled to know each flag that the manifest, the chart
// with all that it can set, the unit and the pages on how to install name, and
// each variable.
func TestFlagsExist(t *testing.T) {
	t.Parallel()
	help := run(t, bin(t, "percaled"), "--help")
	known := make(map[string]bool)
	for _, m := range regexp.MustCompile(`--([a-z0-9_-]+)`).FindAllStringSubmatch(help, -1) {
		known[m[1]] = true
	}
	all := mustRender(t, map[string]any{
		"annotationPrefix": "example.com", "cni": map[string]any{"exclusive": true},
	})
	var args []string
	for _, o := range []objects{manifest(t), all} {
		pod := at(o["DaemonSet percale"], "spec", "template", "spec")
		for _, list := range []string{"initContainers", "containers"} {
			for _, a := range arrayAt(pod, list, 0, "args") {
				args = append(args, a.(string))
			}
		}
	}
	if len(args) < 12 {
		t.Errorf("%d arguments: %q; want those of the manifest and of the chart", len(args), args)
	}
	for _, a := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if !known[name] {
			t.Errorf("%s: percaled has no such flag", a)
		}
	}
	for _, file := range []string{unit, "../../docs/install.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`PERCALED_([A-Z_]+)=`).FindAllStringSubmatch(string(b), -1) {
			if name := strings.ToLower(strings.ReplaceAll(m[1], "_", "-")); !known[name] {
				t.Errorf("%s: PERCALED_%s is of no flag", file, m[1])
			}
		}
	}
}

// TestConflists wants the list that hosts without Kubernetes copy to be the one
// of the manifest.
func TestConflists(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../dist/10-percale.conflist")
	if err != nil {
		t.Fatal(err)
	}
	var file any
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	all := manifest(t)
	all.unfold(t)
	if got := at(all["ConfigMap percale-conf"], "data", "10-percale.conflist"); text(got) != text(file) {
		t.Errorf("dist/10-percale.conflist is\n%s\nin the manifest\n%s", text(file), text(got))
	}
}

// TestPagesNameFilesThatExist checks the paths below dist of docs/install.md.
func TestPagesNameFilesThatExist(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile(`\bdist/[A-Za-z0-9./_-]+[A-Za-z]`).FindAllString(string(b), -1)
	if len(paths) < 10 {
		t.Errorf("%d paths: %q; want 10 or more", len(paths), paths)
	}
	for _, p := range paths {
		if _, err := os.Stat(filepath.Join("../..", p)); err != nil {
			t.Error(err)
		}
	}
}
