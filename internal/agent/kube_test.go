// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
)

const dualConf = `{"Network":"10.42.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:42::/56"}`

// kubeAgent returns an agent of a node n7 in a dual-stack cluster.
func kubeAgent(t *testing.T) *Agent {
	t.Helper()
	conf, err := config.ParseNetConf([]byte(dualConf))
	if err != nil {
		t.Fatal(err)
	}
	a := New(config.Settings{NodeName: "n7", KubeSubnetMgr: true}, "test", slog.New(slog.DiscardHandler))
	a.ending.Store(true) // tells nobody
	a.conf, a.backend = conf, newBackend(conf.Backend)
	return a
}

var (
	four = netip.MustParsePrefix("10.42.7.0/24")
	six  = netip.MustParsePrefix("fd00:42:0:7::/64")
)

// What is told is what stands in the annotation percale.io/subnet-source.
func TestSubnetSource(t *testing.T) {
	t.Parallel()
	a := kubeAgent(t)
	held := subnet.Lease{Node: "n7", V4: subnet.Endpoint{Subnet: four}}
	with := func(o subnet.Assigned) view {
		return view{synced: true, held: true, lease: held, snapshot: subnet.Snapshot{Own: subnet.Own{Assigned: o}}}
	}
	other := netip.MustParsePrefix("10.42.9.0/24")
	for name, c := range map[string]struct {
		v    view
		want string
	}{
		"nothing known":        {view{}, ""},
		"cached":               {view{held: true, lease: held}, ""},
		"assigned":             {with(subnet.Assigned{V4: four}), status.FromPodCIDR},
		"and a family not on":  {with(subnet.Assigned{V4: four, V6: six}), status.FromPodCIDR},
		"chosen":               {with(subnet.Assigned{}), status.FromLease},
		"another one assigned": {with(subnet.Assigned{V4: other}), status.FromLease},
		"none assigned yet":    {with(subnet.Assigned{Pending: "?"}), status.FromBefore},
	} {
		if got := a.subnetSource(c.v); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
	}
	a.settings.KubeSubnetMgr = false
	if got := a.subnetSource(with(subnet.Assigned{})); got != "" {
		t.Errorf("with etcd: %q; want nothing", got)
	}
}

// A node with one family's pod CIDR takes no part in the other, also while the
// store is away.
func TestPoolsOfNode(t *testing.T) {
	a := kubeAgent(t)
	both := a.conf.Pools
	v4, v6 := subnet.Pools{V4: both.V4}, subnet.Pools{V6: both.V6}
	told := func(o subnet.Assigned) view {
		return view{synced: true, snapshot: subnet.Snapshot{Own: subnet.Own{Assigned: o}}}
	}
	had := func(v view, l subnet.Lease) view { v.previous = l; return v }
	leased4 := subnet.Lease{Node: "n7", V4: subnet.Endpoint{Subnet: four}}
	for name, c := range map[string]struct {
		v    view
		want subnet.Pools
	}{
		"nothing known":              {view{}, both},
		"both":                       {told(subnet.Assigned{V4: four, V6: six}), both},
		"IPv4":                       {told(subnet.Assigned{V4: four}), v4},
		"IPv6":                       {told(subnet.Assigned{V6: six}), v6},
		"store away":                 {had(view{}, leased4), v4},
		"not assigned for now":       {had(told(subnet.Assigned{Pending: "?"}), leased4), v4},
		"the node chooses":           {told(subnet.Assigned{}), both},
		"the node chooses both anew": {had(told(subnet.Assigned{}), leased4), both},
	} {
		if got := a.pools(c.v); got != c.want {
			t.Errorf("%s: pools %v; want %v", name, got, c.want)
		}
		if notes := a.halfNotes(c.v); (len(notes) == 1) != (c.want != both) {
			t.Errorf("%s: notes %q; want one where a family is left out", name, notes)
		}
	}
	a.settings.KubeSubnetMgr = false
	if got := a.pools(had(view{}, leased4)); got != both {
		t.Errorf("in etcd: pools %v; want what net-conf says", got)
	}
}

// What an operator writes on the Node goes before flags and the uplink.
func TestPublicity(t *testing.T) {
	at := netip.MustParseAddr
	a := kubeAgent(t)
	up := network.Uplink{V4: at("192.168.0.7"), V6: at("fd01::7")}
	for _, c := range []struct {
		flag string
		own  subnet.Publicity
		want string
	}{
		{"", subnet.Publicity{}, "192.168.0.7"},
		{"198.51.100.1", subnet.Publicity{}, "198.51.100.1"},
		{"198.51.100.1", subnet.Publicity{Public: at("198.51.100.2")}, "198.51.100.2"},
		{"198.51.100.1", subnet.Publicity{Overwrite: at("203.0.113.3")}, "203.0.113.3"},
		{"", subnet.Publicity{Public: at("198.51.100.2"), Overwrite: at("203.0.113.3")}, "203.0.113.3"},
	} {
		a.settings.PublicIP = netip.Addr{}
		if c.flag != "" {
			a.settings.PublicIP = at(c.flag)
		}
		claim := a.claim(view{uplink: up, snapshot: subnet.Snapshot{Own: subnet.Own{V4: c.own}}})
		if claim.V4.Uplink != at(c.want) || claim.V6.Uplink != up.V6 {
			t.Errorf("flag %q, %+v: publishes %s and %s; want %s and %s", c.flag, c.own, claim.V4.Uplink, claim.V6.Uplink, c.want, up.V6)
		}
	}
}

// The MAC that our Node says is kept, whoever wrote it there before; a claim of
// ours without annotations says none.
func TestDataOfNodeIsKept(t *testing.T) {
	a := kubeAgent(t)
	data := `{"VNI":1,"VtepMAC":"02:aa:bb:cc:dd:ee"}`
	own := subnet.Lease{Node: "n7", Backend: "vxlan", V4: subnet.Endpoint{Subnet: four}}
	said := own
	said.V4.Data = data
	a.fillData(&own, view{snapshot: subnet.Snapshot{Leases: []subnet.Lease{said}}})
	if !strings.Contains(own.V4.Data, "02:aa:bb:cc:dd:ee") {
		t.Errorf("published %s; want the MAC of before", own.V4.Data)
	}
	own.V4.Data = ""
	other := said
	other.Node = "n1" // the cluster has assigned the subnet twice
	a.fillData(&own, view{snapshot: subnet.Snapshot{Leases: []subnet.Lease{other}}})
	if strings.Contains(own.V4.Data, "02:aa:bb:cc:dd:ee") {
		t.Errorf("published %s; want no other node's MAC", own.V4.Data)
	}
	own.V4.Data = ""
	claim := subnet.Lease{Node: "n7", V4: subnet.Endpoint{Subnet: four}}
	a.fillData(&own, view{previous: said, snapshot: subnet.Snapshot{Leases: []subnet.Lease{claim}}})
	if !strings.Contains(own.V4.Data, "02:aa:bb:cc:dd:ee") {
		t.Errorf("published %s; want the MAC of before", own.V4.Data)
	}
}

func TestRemedyForUnassigned(t *testing.T) {
	a := kubeAgent(t)
	if err := fmt.Errorf("%w: there is no Node", subnet.ErrUnassigned); a.remedy(err) != err {
		t.Error("a remedy is told for a Node that is not there")
	}
	a.ownNode(nodes.Own{Exists: true})
	got := a.remedy(fmt.Errorf("%w: x", subnet.ErrUnassigned)).Error()
	for _, words := range []string{
		"--allocate-node-cidrs=true --cluster-cidr=10.42.0.0/16,fd00:42::/56",
		`kubectl patch node n7 --type merge -p '{"spec":{"podCIDRs":["10.42.1.0/24","fd00:42:0:1::/64"]}}'`,
	} {
		if !strings.Contains(got, words) {
			t.Errorf("%s\nwant it to say %s", got, words)
		}
	}
	if err := errors.New("y"); a.remedy(err) != err {
		t.Error("another error was changed")
	}
}

// A ConfigMap is changed by a link that is replaced; the file itself is not
// touched.
func TestNetConfOfConfigMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := kubeStore{path: filepath.Join(dir, "net-conf.json")}
	if _, err := s.NetConf(t.Context()); err == nil || !strings.Contains(err.Error(), "--net-config-path") {
		t.Errorf("NetConf = %v; want an error with its remedy", err)
	}
	publish := func(version, text string) {
		t.Helper()
		err := errors.Join(
			os.Mkdir(filepath.Join(dir, version), 0o755),
			os.WriteFile(filepath.Join(dir, version, "net-conf.json"), []byte(text), 0o644),
			os.Symlink(version, filepath.Join(dir, "..tmp")),
			os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", "one")
	if err := os.Symlink("..data/net-conf.json", s.path); err != nil {
		t.Fatal(err)
	}
	kicks := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.WatchNetConf(ctx, func() { kicks <- struct{}{} }) }()
	await := func(want string) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			select {
			case <-kicks:
				if got, err := s.NetConf(t.Context()); err == nil && string(got) == want {
					return
				}
			case <-deadline:
				t.Fatalf("no kick for %q", want)
			}
		}
	}
	await("one")
	publish("..2", "two")
	await("two")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("WatchNetConf = %v; want nil at its end", err)
	}
}
