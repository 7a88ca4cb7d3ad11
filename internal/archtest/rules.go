// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"slices"
	"strings"
)

// A rule says what a package may import beside the standard library. Test
// files are free: they may look at anything.
type rule struct {
	pkg     string   // below the module; "x/..." is x and all below it
	pure    bool     // no I/O, clock, goroutine or log
	own     []string // packages of this module, in the same form
	foreign []string // other modules' packages: this path and all below it
}

// Other modules, each let in at few places.
const (
	cniLib   = "github.com/containernetworking/cni"
	cobra    = "github.com/spf13/cobra"
	etcd     = "go.etcd.io/etcd"
	grpc     = "google.golang.org/grpc" // what the etcd client dials and fails with
	iptables = "github.com/coreos/go-iptables"
	kubeAPI  = "k8s.io/apimachinery"
	kubeDial = "k8s.io/client-go/util/connrotation"
	kubeREST = "k8s.io/client-go/rest" // how the API server is reached; no typed clients, which link every API
	kubeYAML = "sigs.k8s.io/yaml"
	kubeLibs = "k8s.io" // all of it, for tests and the lab alone
	kubeconf = "k8s.io/client-go/tools/clientcmd"
	netlink  = "github.com/vishvananda/netlink"
	nfsocket = "github.com/mdlayher/netlink" // what nftables sends through
	nftables = "github.com/google/nftables"
	protobuf = "google.golang.org/protobuf/encoding/protowire" // the encoding itself, not its generated code
	prom     = "github.com/prometheus/client_golang"
	sync     = "golang.org/x/sync"
	sys      = "golang.org/x/sys"
	systemd  = "github.com/coreos/go-systemd/v22/daemon" // sd_notify(3)
)

// rules is the map of the house; the first rule that matches a package holds.
var rules = []rule{
	{pkg: "subnet", pure: true},
	{pkg: "subnet/ipam", pure: true},
	{pkg: "subnet/sizing", pure: true, own: []string{"subnet/ipam"}},
	{pkg: "subnet/local", own: []string{"subnet", "subnet/ipam"}, foreign: []string{sys}},
	{pkg: "subnet/storetest", own: []string{"subnet"}},
	{pkg: "subnet/etcd", own: []string{"subnet"}, foreign: []string{etcd, grpc, sync}},
	{pkg: "subnet/kube", own: []string{"subnet", "subnet/kube/nodes"}, foreign: []string{kubeAPI, kubeDial, kubeREST, sync}},
	{pkg: "subnet/kube/nodes/nodestest"},
	{pkg: "subnet/kube/nodes", foreign: []string{kubeREST, protobuf}},
	{pkg: "subnet/etcd/etcdtest", own: []string{"subnet"}, foreign: []string{etcd, grpc}},

	{pkg: "network", pure: true},
	{pkg: "network/uplink", pure: true, own: []string{"network"}},
	{pkg: "network/pod", pure: true, own: []string{"network"}},
	{pkg: "network/owned", pure: true, own: []string{"network"}},
	{pkg: "network/firewall", pure: true, own: []string{"network"}},
	{pkg: "network/firewall/nftables", own: []string{"network/firewall", "network/firewall/nfattr"}, foreign: []string{nftables, nfsocket, sys}},
	{pkg: "network/firewall/nfattr", foreign: []string{sys}},
	{pkg: "network/firewall/podmasq", own: []string{"network/firewall"}, foreign: []string{nftables, nfsocket, sys}},
	{pkg: "network/firewall/guard", own: []string{"network/firewall", "network/firewall/nfattr", "network/pod"}, foreign: []string{nftables, nfsocket, sys}},
	{pkg: "network/firewall/iptables", own: []string{"network/firewall"}, foreign: []string{iptables, sync, sys}},
	{pkg: "network/kernel", own: []string{"network", "network/uplink", "internal/netns"}, foreign: []string{netlink, sys}},

	{pkg: "backend", pure: true, own: []string{"subnet", "network"}},
	{pkg: "backend/...", pure: true, own: []string{"backend", "subnet", "network"}},

	{pkg: "internal/archtest"},
	{pkg: "internal/netns", foreign: []string{sys}},
	{pkg: "internal/netns/capstest", own: []string{"internal/netns"}, foreign: []string{sys}},
	{pkg: "internal/config", own: []string{"subnet"}},
	{pkg: "internal/reconcile"},
	{pkg: "internal/probe", own: []string{"network", "subnet"}},
	{pkg: "internal/addresses", own: []string{
		"subnet/local", "subnet/ipam", "network/pod", "network/kernel", "network/firewall/podmasq",
	}},
	{pkg: "internal/kubenode", own: []string{"subnet/kube/nodes"}, foreign: []string{kubeREST, kubeconf}},
	{pkg: "internal/cnifiles", foreign: []string{cniLib, sys}},
	{pkg: "internal/status", own: []string{"subnet", "network"}},
	{pkg: "internal/web", own: []string{"internal/status"}, foreign: []string{prom}},
	{pkg: "internal/agent", foreign: []string{sync, sys, systemd}, own: []string{
		"subnet/...", "network/...", "backend/...",
		"internal/config", "internal/reconcile", "internal/probe", "internal/status", "internal/web", "internal/addresses",
		"internal/kubenode",
		"internal/cnifiles",
	}},
	{pkg: "internal/lab", foreign: []string{etcd, grpc, kubeLibs, sync, sys}, own: []string{
		"subnet/...", "network/...", "internal/netns", "internal/status", "internal/web", "internal/lab/kubeapi",
	}},
	{pkg: "internal/lab/kubeapi", foreign: []string{kubeLibs, kubeYAML}},
	{pkg: "internal/lab/kubetest", own: []string{"internal/lab", "internal/lab/kubeapi"}, foreign: []string{kubeLibs, sync}},
	{pkg: "internal/lab/labtest", own: []string{"internal/lab", "internal/netns"}},

	{pkg: "cmd/percaled", own: []string{"internal/agent", "internal/config", "internal/cnifiles"}, foreign: []string{sys}},
	{pkg: "cmd/percale", foreign: []string{cobra}, own: []string{
		"internal/config", "internal/status", "internal/web", "internal/addresses", "network/kernel", "subnet/ipam", "subnet/local", "subnet/sizing",
	}},
	{pkg: "cmd/percale-cni", foreign: []string{cniLib, sys}, own: []string{
		"network/pod", "network/kernel", "network", "network/firewall/podmasq", "network/firewall/guard", "subnet/local", "subnet/ipam", "subnet", "internal/netns",
		"internal/addresses",
	}},
	{pkg: "cmd/percale-lab", own: []string{"internal/lab", "internal/netns"}, foreign: []string{cobra, sys}},
	{pkg: "e2e/...", own: []string{"..."}, foreign: []string{etcd, kubeLibs, sys}},
}

// impure are the standard packages that a pure package may not import: what
// reads or writes the world, and what runs beside it. A trailing "/" stands for
// all below.
var impure = []string{
	"C", "bufio", "context", "crypto/rand", "embed", "io", "io/", "log", "log/", "net", "net/",
	"os", "os/", "plugin", "runtime", "runtime/", "sync", "sync/", "syscall", "testing", "testing/", "unsafe",
}

// spared are imports that a pure package may have all the same.
var spared = map[string][]string{
	"subnet": {"context"}, // for the interface Store, which pure code only names
}

// clock are the functions of package time that read the clock or wait for it.
var clock = []string{
	"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until",
}

// vague are names that say nothing of what a package provides.
var vague = []string{"common", "helper", "helpers", "misc", "types", "util", "utils"}

// license is the first line of every Go file.
const license = "// SPDX-License-Identifier: Apache-2.0"

// matches reports whether a pattern "x" or "x/..." stands for a package.
func matches(pattern, pkg string) bool {
	root, tree := strings.CutSuffix(pattern, "...")
	if !tree {
		return pattern == pkg
	}
	return root == "" || strings.HasPrefix(pkg+"/", root)
}

// ruleFor returns the rule of a package.
func ruleFor(pkg string) (rule, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.pkg, pkg) })
	if i < 0 {
		return rule{}, false
	}
	return rules[i], true
}

func (r rule) allowsOwn(pkg string) bool {
	return slices.ContainsFunc(r.own, func(p string) bool { return matches(p, pkg) })
}

func (r rule) allowsForeign(path string) bool {
	return slices.ContainsFunc(r.foreign, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// isImpure reports whether a pure package may not import a standard package.
func isImpure(pkg, path string) bool {
	if path == "net/netip" || slices.Contains(spared[pkg], path) {
		return false
	}
	return slices.ContainsFunc(impure, func(p string) bool {
		return path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
}
