// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/percale-net/percale"

func TestHouse(t *testing.T) {
	t.Parallel()
	root := os.DirFS("../..")
	faults, err := Check(root, module)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
	files, err := load(root)
	if err != nil || !slices.ContainsFunc(files, func(s source) bool { return s.path == "network/state.go" }) {
		t.Errorf("%d files read, %v; want the module's, network/state.go among them", len(files), err)
	}
}

// file returns a file that keeps the habits, with code below the package clause.
func file(pkg, code string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(license + "\n\n// Package doc.\npackage " + pkg + "\n\n" + code)}
}

func TestCheckFinds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path, pkg, code string
		want            string // "" for no fault
	}{
		{"subnet/a.go", "subnet", `import ("context"; "net/netip"; "time"); var _ context.Context; var _ netip.Addr; var _ time.Time`, ""},
		{"subnet/a.go", "subnet", `import "github.com/percale-net/percale/network"`,
			"subnet/a.go: subnet may not import network"},
		{"network/a.go", "network", `import "context"`, "network/a.go: network is pure and may not import context"},
		{"network/a.go", "network", `import "net"`, "network/a.go: network is pure and may not import net"},
		{"network/a.go", "network", `import "net/http"`, "network/a.go: network is pure and may not import net/http"},
		{"network/pod/a.go", "pod", `import "log/slog"`, "network/pod/a.go: network/pod is pure and may not import log/slog"},
		{"network/a.go", "network", `import "C"`, "network/a.go: want no cgo"},
		{"network/firewall/a.go", "firewall", `import "sync/atomic"`, "network/firewall/a.go: network/firewall is pure and may not import sync/atomic"},
		{"network/uplink/a.go", "uplink", `import "github.com/vishvananda/netlink"`, "network/uplink/a.go: network/uplink may not import github.com/vishvananda/netlink"},
		{"network/kernel/a.go", "kernel", `import "github.com/vishvananda/netlink/nl"`, ""},
		{"internal/lab/a.go", "lab", `import "github.com/vishvananda/netlink"`, "internal/lab/a.go: internal/lab may not import github.com/vishvananda/netlink"},
		{"subnet/local/a.go", "local", `import "go.etcd.io/etcd/client/v3"`, "subnet/local/a.go: subnet/local may not import go.etcd.io/etcd/client/v3"},
		{"backend/vxlan/a.go", "vxlan", `import "github.com/percale-net/percale/backend/hostgw"`, "backend/vxlan/a.go: backend/vxlan may not import backend/hostgw"},
		{"backend/vxlan/a.go", "vxlan", `import "github.com/percale-net/percale/backend"`, ""},
		{"backend/a.go", "backend", "func f() {\n\tgo f()\n}", "backend/a.go:7: backend is pure and may not start goroutines"},
		{"backend/a.go", "backend", "import clk \"time\"\n\nvar _ = clk.Now", "backend/a.go:8: backend is pure and may not ask time.Now: pass the time in"},
		{"backend/a.go", "backend", "import \"time\"\n\nvar _ = time.Second", ""},
		{"internal/agent/a.go", "agent", "import \"time\"\n\nvar _ = time.Now", ""},
		{"internal/agent/a.go", "agent", "import \"time\"\n\nfunc f() { time.Sleep(1) }", "internal/agent/a.go:8: want no time.Sleep: wait for what is to happen"},
		{"internal/agent/a.go", "agent", "import \"os\"\n\nfunc f() { os.Exit(1) }", "internal/agent/a.go:8: want os.Exit in main alone: return an error"},
		{"internal/agent/a.go", "agent", "func init() {}", "internal/agent/a.go:6: want no init: let main call it"},
		{"internal/agent/a.go", "agent", "import \"log\"\n\nvar _ = log.Fatalf", "internal/agent/a.go:8: want no log.Fatalf: return an error"},
		{"cmd/percaled/a.go", "main", "import \"os\"\n\nfunc f() { os.Exit(1) }", ""},
		{"cmd/percaled/a.go", "main", `import "github.com/percale-net/percale/network/kernel"`, "cmd/percaled/a.go: cmd/percaled may not import network/kernel"},
		{"internal/new/a.go", "new", "", `internal/new/a.go: package "internal/new" has no rule: add one to internal/archtest/rules.go`},
		{"e2e/util/a.go", "util", "", `e2e/util/a.go: package "util": name it for what it provides`},
		{"network/a_test.go", "network", `import "os"; var _ = os.Exit`, ""},
		{"network/testdata/a.go", "x", `import "os"`, ""},
		{"e2e/kubeapi/a.go", "types", ``, `e2e/kubeapi/a.go: package "types": name it for what it provides`},
	} {
		faults, err := Check(fstest.MapFS{tt.path: file(tt.pkg, tt.code)}, module)
		if got := strings.Join(faults, "\n"); err != nil || got != tt.want {
			t.Errorf("%s with %s\n got %s %v\nwant %s", tt.path, tt.code, got, err, tt.want)
		}
	}
}

func TestCheckFindsBadFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		tree fstest.MapFS
		want string
	}{
		{"no license", fstest.MapFS{"network/a.go": {Data: []byte("// Package network.\npackage network\n")}},
			`network/a.go: want "` + license + `" and an empty line first`},
		{"no license in a test", fstest.MapFS{"network/a.go": file("network", ""), "network/a_test.go": {Data: []byte("package network\n")}},
			`network/a_test.go: want "` + license + `" and an empty line first`},
		{"license as package comment", fstest.MapFS{"network/a.go": file("network", ""), "network/b.go": {Data: []byte(license + "\npackage network\n")}},
			`network/b.go: want "` + license + `" and an empty line first` + "\nnetwork: want one package comment: it has 2"},
		{"two package comments", fstest.MapFS{"network/a.go": file("network", ""), "network/b.go": file("network", "")},
			"network: want one package comment: it has 2"},
		{"no package comment", fstest.MapFS{"network/a.go": {Data: []byte(license + "\n\npackage network\n")}},
			"network: want one package comment: it has 0"},
		{"another module", fstest.MapFS{"e2e/kubeapi/go.mod": {}, "e2e/kubeapi/a.go": {Data: []byte("package types\n")}}, ""},
	} {
		faults, err := Check(tt.tree, module)
		if got := strings.Join(faults, "\n"); err != nil || got != tt.want {
			t.Errorf("%s:\n got %s %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
	if _, err := Check(fstest.MapFS{"network/a.go": {Data: []byte("packge")}}, module); err == nil {
		t.Error("a file that does not parse is no error")
	}
}

func TestRulesAreReachable(t *testing.T) {
	t.Parallel()
	for i, r := range rules {
		name := strings.TrimSuffix(r.pkg, "/...")
		if strings.HasSuffix(r.pkg, "/...") {
			name += "/x"
		}
		if found, ok := ruleFor(name); !ok || found.pkg != r.pkg {
			t.Errorf("rule %d for %s is shadowed by that for %s", i, r.pkg, found.pkg)
		}
	}
}
