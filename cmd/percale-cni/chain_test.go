// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/percale-net/percale/internal/netns"
)

// With one of these names, the test binary is that plugin.
const (
	pluginName  = "percale-cni"
	witnessName = "witness"
)

// witness is a plugin behind ours: it leaves what it was given in the file that
// its configuration names, and passes the result on.
func witness() int {
	stdin, err := io.ReadAll(os.Stdin)
	var c struct {
		File       string          `json:"file"`
		PrevResult json.RawMessage `json:"prevResult"`
	}
	if err == nil {
		err = json.Unmarshal(stdin, &c)
	}
	if err == nil && c.File != "" {
		err = os.WriteFile(c.File+"."+os.Getenv("CNI_COMMAND")+"."+os.Getenv("CNI_IFNAME"), stdin, 0o644)
	}
	if os.Getenv("CNI_COMMAND") == "ADD" {
		os.Stdout.Write(c.PrevResult)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// plugins makes a directory of plugins: ours, the witness, and those of the CNI
// project, which "make plugins" builds into the directory of the binaries. It
// returns which of the latter; none where no such directory is named.
func plugins(t *testing.T) (dir string, others []string) {
	t.Helper()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(self, pluginName)
	link(self, witnessName)
	bin := os.Getenv("PERCALE_BIN")
	if bin == "" {
		return dir, nil
	}
	others = []string{"portmap", "bandwidth", "tuning"}
	for _, name := range others {
		path := filepath.Join(bin, "cni", name)
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v: make plugins", err)
		}
		link(path, name)
	}
	return dir, others
}

// list returns a list of plugins that begins with ours.
func (n node) list(t *testing.T, version string, others []string) *libcni.NetworkConfigList {
	t.Helper()
	first := n.conf(conf{"isDefaultGateway": true, "dns": conf{"nameservers": []string{"10.43.0.10"}}})
	first["capabilities"] = conf{"mac": true, "ips": true, "aliases": true}
	chain := []any{first}
	for _, name := range others {
		switch name {
		case "portmap":
			chain = append(chain, conf{"type": name, "snat": true, "backend": "iptables", "capabilities": conf{"portMappings": true}})
		case "bandwidth":
			chain = append(chain, conf{"type": name, "capabilities": conf{"bandwidth": true}})
		case "tuning":
			chain = append(chain, conf{"type": name, "sysctl": conf{"net.ipv4.conf.IFNAME.arp_notify": "1"}, "promisc": true})
		}
	}
	chain = append(chain, conf{"type": witnessName, "file": filepath.Join(n.dir, "seen"), "capabilities": conf{"portMappings": true}})
	b, err := json.Marshal(conf{"cniVersion": version, "name": "pods", "plugins": chain})
	if err != nil {
		t.Fatal(err)
	}
	l, err := libcni.ConfListFromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Every verb through libcni, in every version, with plugins behind ours and two
// attachments of one container.
func TestChain(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envDual), netns.Temp(t)
			dir, others := plugins(t)
			t.Logf("plugins of the CNI project: %v", others)
			l := n.list(t, version, others)
			cni := libcni.NewCNIConfigWithCacheDir([]string{dir}, filepath.Join(n.dir, "cache"), nil)
			attachment := func(ifname, mac string, ips ...string) *libcni.RuntimeConf {
				return &libcni.RuntimeConf{ContainerID: "abc", NetNS: p.Path(), IfName: ifname, CapabilityArgs: map[string]any{
					"mac": mac, "ips": ips, "aliases": []string{"web"},
				}}
			}
			first := attachment("eth0", "02:00:00:00:00:09", "10.42.7.77/24")
			first.CapabilityArgs["portMappings"] = []conf{{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}
			// The bandwidth plugin can do one attachment of a container in a network.
			first.CapabilityArgs["bandwidth"] = conf{"ingressRate": 8e6, "ingressBurst": 8e6, "egressRate": 8e6, "egressBurst": 8e6}
			second := attachment("net1", "02:00:00:00:00:0a")
			verbs := func() error {
				for _, a := range []*libcni.RuntimeConf{first, second} {
					r, err := cni.AddNetworkList(t.Context(), l, a)
					if err != nil {
						return err
					}
					n.checkChained(t, version, a, r.Version())
				}
				n.checkOthers(t, p, others, true)
				if version >= "0.4.0" {
					if err := cni.CheckNetworkList(t.Context(), l, first); err != nil {
						return err
					}
				}
				if version >= "1.1.0" {
					if err := cni.GetStatusNetworkList(t.Context(), l); err != nil {
						return err
					}
				}
				return cni.DelNetworkList(t.Context(), l, second)
			}
			if err := n.Do(verbs); err != nil {
				t.Fatal(err)
			}
			if got := links(t, p); !slices.Contains(got, "eth0") || slices.Contains(got, "net1") {
				t.Errorf("links of the pod after DEL of net1 = %v; want eth0", got)
			}
			if got := n.reserved(t); len(got) != 2 || got[0] != "10.42.7.77" {
				t.Errorf("reserved after DEL of net1 = %v; want 10.42.7.77 and one of IPv6", got)
			}
			rest := func() error { return cni.DelNetworkList(t.Context(), l, first) }
			if version >= "1.1.0" {
				rest = func() error { return cni.GCNetworkList(t.Context(), l, &libcni.GCArgs{}) }
			}
			if err := n.Do(rest); err != nil {
				t.Fatal(err)
			}
			if got := n.reserved(t); len(got) > 0 || len(links(t, p)) > 0 {
				t.Errorf("left: %v, links of the pod %v; want nothing", got, links(t, p))
			}
			n.checkOthers(t, p, others, false)
		})
	}
}

// checkOthers fails unless the plugins behind ours have done, or undone, their
// work for the first attachment: a port of the node, a limit, a flag.
func (n node) checkOthers(t *testing.T, p netns.NS, others []string, want bool) {
	t.Helper()
	for _, name := range others {
		var shown, mark string
		switch name {
		case "portmap":
			rules, err := n.Output("iptables-save", "-t", "nat")
			if err != nil {
				t.Error(err)
			}
			shown, mark = rules, "--to-destination 10.42.7.77:80"
		case "bandwidth":
			shown, mark = ip(t, n.NS, "link show type veth"), "qdisc tbf"
		case "tuning":
			shown, mark = ip(t, p, "link show"), ",PROMISC,"
		}
		if got := strings.Contains(shown, mark); got != want {
			t.Errorf("%s: %q is there: %v, want %v:\n%s", name, mark, got, want, shown)
		}
	}
}

// checkChained looks at what the plugin behind ours was given.
func (n node) checkChained(t *testing.T, version string, a *libcni.RuntimeConf, resultVersion string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "seen.ADD."+a.IfName))
	if err != nil {
		t.Error(err)
		return
	}
	var seen struct {
		PrevResult types100.Result `json:"prevResult"`
	}
	if err := json.Unmarshal(b, &seen); err != nil {
		t.Error(err)
	}
	r := seen.PrevResult
	if resultVersion != version || r.CNIVersion != version || len(r.IPs) != 2 || len(r.DNS.Nameservers) != 1 {
		t.Errorf("result of version %s: %+v; want one of %s with two addresses and a name server", resultVersion, r, version)
	}
	i := slices.IndexFunc(r.Interfaces, func(i *types100.Interface) bool { return i.Sandbox != "" })
	if i < 0 || r.Interfaces[i].Name != a.IfName || r.Interfaces[i].Mac != a.CapabilityArgs["mac"] {
		t.Errorf("interfaces = %+v; want %s with the MAC asked for", r.Interfaces, a.IfName)
	}
	if ips := a.CapabilityArgs["ips"].([]string); len(ips) > 0 && !strings.Contains(string(b), ips[0]) {
		t.Errorf("addresses = %+v; want %v", r.IPs, ips)
	}
}
