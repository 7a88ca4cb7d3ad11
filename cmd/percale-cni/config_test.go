// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/percale-net/percale/internal/netns"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	no := false
	for _, tt := range []struct {
		name, in string
		want     settings
	}{
		{name: "none", in: `{"name":"cbr0"}`, want: settings{bridge: "cni0", gateway: true}},
		{name: "nulls", in: `{"name":"cbr0","delegate":null,"ipam":null,"runtimeConfig":null}`, want: settings{bridge: "cni0", gateway: true}},
		{name: "as flannel ships it", in: `{"name":"cbr0","type":"flannel","delegate":{"hairpinMode":true,"isDefaultGateway":true}}`,
			want: settings{bridge: "cni0", gateway: true, defaultRoute: true, hairpin: true}},
		{name: "all", in: `{"delegate":{"type":"bridge","bridge":"br1","mtu":1400,"ipMasq":false,"isGateway":false,"promiscMode":true,"forceAddress":true,
				"vlan":0,"macspoofchk":false,"preserveDefaultVlan":true,"ipMasqBackend":"nftables"},
			"ipam":{"type":"host-local","ranges":[[{"subnet":"10.0.0.0/8"}]],"routes":[{"dst":"192.0.2.7/24"},{"dst":"fd00::/8","gw":"fd00::1","priority":5}]},
			"runtimeConfig":{"mac":"02:00:00:00:00:09"}}`,
			want: settings{bridge: "br1", mtu: 1400, ipMasq: &no, promisc: true, force: true, mac: network.MAC{2, 0, 0, 0, 0, 9},
				within: []ipam.Span{ipam.SpanOf(netip.MustParsePrefix("10.0.0.0/8"))},
				routes: []pod.Given{{Dst: netip.MustParsePrefix("192.0.2.0/24")},
					{Dst: netip.MustParsePrefix("fd00::/8"), Via: netip.MustParseAddr("fd00::1"), Metric: 5}}}},
		{name: "a default gateway is a gateway", in: `{"delegate":{"isGateway":false,"isDefaultGateway":true}}`,
			want: settings{bridge: "cni0", gateway: true, defaultRoute: true}},
		{name: "ranges and reserved", in: `{"ipam":{"ranges":[[{"subnet":"10.42.0.0/16","rangeStart":"10.42.7.9"},{"subnet":"fd00::/8"}]],"reserved":["10.42.7.10","10.42.7.20-10.42.7.29"]}}`,
			want: settings{bridge: "cni0", gateway: true,
				within:   []ipam.Span{mustSpan("10.42.7.9-10.42.255.255"), ipam.SpanOf(netip.MustParsePrefix("fd00::/8"))},
				reserved: []ipam.Span{mustSpan("10.42.7.10"), mustSpan("10.42.7.20-10.42.7.29")}}},
		{name: "addresses asked for", in: `{"runtimeConfig":{"ips":["10.42.7.9/24"," fd00::9"]},"args":{"cni":{"ips":["10.42.7.10"]}}}`,
			want: settings{bridge: "cni0", gateway: true, wantedBy: "runtimeConfig.ips",
				wanted: []netip.Addr{netip.MustParseAddr("10.42.7.9"), netip.MustParseAddr("fd00::9")}}},
		{name: "addresses asked for by args", in: `{"args":{"cni":{"ips":["10.42.7.10"]}}}`,
			want: settings{bridge: "cni0", gateway: true, wantedBy: "args.cni.ips", wanted: []netip.Addr{netip.MustParseAddr("10.42.7.10")}}},
		{name: "case does not matter", in: `{"DELEGATE":{"HairpinMode":true}}`, want: settings{bridge: "cni0", gateway: true, hairpin: true}},
	} {
		c, err := parseConfig([]byte(tt.in))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := c.settings("")
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: settings = %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

func mustSpan(s string) ipam.Span {
	span, err := ipam.ParseSpan(s)
	if err != nil {
		panic(err)
	}
	return span
}

func TestSettingsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		code uint
		text string
	}{
		{`{`, 6, "network configuration: unexpected end of JSON input"},
		{`[]`, 6, "is a JSON array"},
		{`{"name":1}`, 6, "name: is a JSON number, want string"},
		{`{"delegate":"bridge"}`, 6, "delegate.: is a JSON string"},
		{`{"delegate":{"mtu":"1400"}}`, 6, "delegate.mtu: is a JSON string, want int"},
		{`{"delegate":{"mtu":1e99}}`, 6, "delegate.mtu: is a JSON number 1e99"},
		{`{"delegate":{"type":5}}`, 6, "delegate.type: is a JSON number, want string"},
		{`{"delegate":{"type":"macvlan"}}`, 2, `delegate.type is "macvlan"`},
		{`{"delegate":{"name":"x"}}`, 2, "delegate.name: the network has the name beside delegate: remove this one"},
		{`{"delegate":{"ipam":{}}}`, 2, `delegate.ipam: put it beside delegate, as "ipam"`},
		{`{"delegate":{"vlan":7}}`, 2, "delegate.vlan: percale-cni does not have this feature"},
		{`{"delegate":{"macspoofchk":true}}`, 2, "delegate.macspoofchk: percale-cni does not have this feature"},
		{`{"delegate":{"ipMasqBackend":"iptables"}}`, 2, "delegate.ipMasqBackend: percale-cni masquerades by nftables"},
		{`{"delegate":{"hairpinmod":true}}`, 2, "delegate.hairpinmod: no such key: did you mean hairpinMode?"},
		{`{"delegate":{"isdefaultGW":true}}`, 2, "did you mean isDefaultGateway?"},
		{`{"delegate":{"zzz":true}}`, 2, "no such key: there are type, bridge, mtu"},
		{`{"delegate":{"bridge":"a/b"}}`, 7, `delegate.bridge "a/b": want 1 to 15 bytes`},
		{`{"delegate":{"bridge":"sixteen-bytes-xx"}}`, 7, "want 1 to 15 bytes"},
		{`{"delegate":{"bridge":".."}}`, 7, "want 1 to 15 bytes"},
		{`{"delegate":{"mtu":10}}`, 7, "delegate.mtu 10: want 68 to 65535"},
		{`{"delegate":{"mtu":-1}}`, 7, "delegate.mtu -1"},
		{`{"delegate":{"hairpinMode":true,"promiscMode":true}}`, 7, "exclude each other"},
		{`{"ipam":{"type":"dhcp"}}`, 2, `ipam.type is "dhcp"`},
		{`{"ipam":{"rangeStart":"10.0.0.9"}}`, 2, "ipam.rangeStart: percale-cni takes addresses from the subnet file alone"},
		{`{"ipam":{"route":[]}}`, 2, "ipam.route: no such key: did you mean routes?"},
		{`{"ipam":{"routes":[{"dst":"x"}]}}`, 7, `ipam.routes[0]: dst "x": want a prefix`},
		{`{"ipam":{"routes":[{"dst":"10.0.0.0/8","gw":"fd00::1"}]}}`, 7, `gw "fd00::1": want an address of the family of dst 10.0.0.0/8`},
		{`{"ipam":{"routes":[{"dst":"10.0.0.0/8","mtu":1400}]}}`, 7, "mtu, advmss, table and scope are not supported"},
		{`{"runtimeConfig":{"mac":"x"}}`, 7, "runtimeConfig.mac: MAC"},
		{`{"runtimeConfig":{"mac":"01:00:00:00:00:09"}}`, 7, "want that of one interface"},
		{`{"runtimeConfig":{"ips":["10.0.0"]}}`, 7, `runtimeConfig.ips: "10.0.0": want an address`},
		{`{"runtimeConfig":{"ips":["10.0.0.1","10.0.0.2"]}}`, 7, "want at most one address of each family"},
		{`{"runtimeConfig":{"ips":"10.0.0.1"}}`, 6, "runtimeConfig.ips: is a JSON string"},
		{`{"args":{"cni":{"ips":["::ffff:10.0.0.1"]}}}`, 7, "args.cni.ips"},
		{`{"ipam":{"ranges":[[{"subnet":"10.0.0.0"}]]}}`, 7, `ipam.ranges[0][0]: subnet "10.0.0.0": want a prefix`},
		{`{"ipam":{"ranges":[[],[{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.9","rangeEnd":"10.0.0.2"}]]}}`, 7, "ipam.ranges[1][0]: rangeStart"},
		{`{"ipam":{"ranges":[[{"subnet":"10.0.0.0/24","rangeEnd":"10.0.1.2"}]]}}`, 7, "is not inside its subnet 10.0.0.0/24"},
		{`{"ipam":{"ranges":[[{"subnet":"10.0.0.0/24","gateway":"10.0.0.9"}]]}}`, 7, "it is the first address of the node's subnet"},
		{`{"ipam":{"reserved":["10.0.0.9-"]}}`, 7, "ipam.reserved[0]"},
	} {
		c, err := parseConfig([]byte(tt.in))
		if err == nil {
			_, err = c.settings("")
		}
		wantError(t, tt.in, err, tt.code, tt.text)
	}
}

func TestStoreRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`{"name":"../x"}`, `{"name":""}`, `{"name":"pods","ipam":{"dataDir":"relative"}}`} {
		c, err := parseConfig([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.store()
		wantError(t, in, err, 7, "network configuration")
	}
}

// What DEL needs is read even where ADD would refuse the rest.
func TestStoreOfRefusedSettings(t *testing.T) {
	t.Parallel()
	c, err := parseConfig([]byte(`{"name":"pods","delegate":{"vlan":7},"ipam":{"type":"dhcp","dataDir":"/x"},"dns":7}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.store(); err != nil {
		t.Errorf("store = %v; want success", err)
	}
}

func TestSubnetFile(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := n.conf(nil)
	for _, tt := range []struct {
		env  string
		text string
	}{
		{envV4[:40], "is missing"},
		{"FLANNEL_MTU\n" + envV4, "line 1: FLANNEL_MTU has no value: want FLANNEL_MTU=…"},
		{"\x7fELF\x00\x01\x02", "zero byte"},
		{strings.Repeat("x", 70<<10), "more than 64 KiB"},
	} {
		n.writeEnv(t, tt.env)
		_, err := n.add(t, "abc", p, c)
		wantError(t, tt.text, err, 6, tt.text, n.envPath())
	}
	c["subnetFile"] = n.dir + "/absent/subnet.env"
	_, err := n.add(t, "abc", p, c)
	wantError(t, "no subnet file", err, 11, "percaled has not written "+n.dir+"/absent/subnet.env yet", "is it running on this node?")
	if err := local.WriteWaiting(n.dir+"/run", "no /coreos.com/network/config in etcd"); err != nil {
		t.Fatal(err)
	}
	_, err = n.add(t, "abc", p, c)
	wantError(t, "no subnet file, and a reason", err, 11, "it waits: no /coreos.com/network/config in etcd (since ", " ago)")
	n.wantNothing(t, p)
}

// valid returns a configuration for GC that has one valid attachment.
func (n node) valid(container string) conf {
	c := n.conf(nil)
	c["cni.dev/valid-attachments"] = []any{conf{"containerID": container, "ifname": "eth0"}}
	return c
}

func TestHostileCalls(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := n.conf(nil)
	for _, tt := range []struct {
		name string
		call call
		code uint
	}{
		{"no JSON", call{"ADD", "abc", p.Path(), "eth0", []byte("\x00\x01garbage")}, 6},
		{"cut off", call{"ADD", "abc", p.Path(), "eth0", []byte(`{"cniVersion":"1.1.0","name":"po`)}, 6},
		{"empty", call{"DEL", "abc", p.Path(), "eth0", []byte("")}, 6},
		{"version of the future", call{"ADD", "abc", p.Path(), "eth0", conf{"cniVersion": "9.0.0", "name": "pods"}}, 1},
		{"network name that climbs", call{"ADD", "abc", p.Path(), "eth0", conf{"cniVersion": "1.1.0", "name": "../pods"}}, 7},
		{"container id that climbs", call{"ADD", "../abc", p.Path(), "eth0", c}, 4},
		{"container id of 5,000 bytes", call{"ADD", strings.Repeat("a", 5000), p.Path(), "eth0", c}, 4},
		{"container id as long as one can be", call{"ADD", strings.Repeat("a", 120<<10), p.Path(), "eth0", c}, 4},
		{"network name of 1 MB", call{"ADD", "abc", p.Path(), "eth0", conf{"cniVersion": "1.1.0", "name": strings.Repeat("a", 1<<20)}}, 7},
		{"zero byte in the network name", call{"ADD", "abc", p.Path(), "eth0", conf{"cniVersion": "1.1.0", "name": "po\x00ds"}}, 7},
		{"zero byte in a valid attachment", call{"GC", "", "", "", n.valid("a\x00bc")}, 7},
		{"valid attachment that climbs", call{"GC", "", "", "", n.valid("../abc")}, 7},
		{"valid attachment of 1 MB", call{"GC", "", "", "", n.valid(strings.Repeat("a", 1<<20))}, 7},
		{"interface name of 16 bytes", call{"ADD", "abc", p.Path(), "eth0567890123456", c}, 4},
		{"interface name with a slash", call{"ADD", "abc", p.Path(), "eth/0", c}, 4},
		{"no interface name", call{"ADD", "abc", p.Path(), "", c}, 4},
		{"nulls in prevResult", call{"CHECK", "abc", p.Path(), "eth0",
			conf{"cniVersion": "1.0.0", "name": "pods", "prevResult": conf{"cniVersion": "1.0.0", "interfaces": []any{nil}}}}, 6},
	} {
		_, err := n.do(t, tt.call)
		wantError(t, tt.name, err, tt.code)
	}
	n.wantNothing(t, p)
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"route", "routes", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d; want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// Nothing that comes on standard input makes the plugin panic, and what it
// takes can be acted on.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.0.0","name":"cbr0","delegate":{"hairpinMode":true,"mtu":1400},"ipam":{"routes":[{"dst":"10.0.0.0/8"}]}}`))
	f.Add([]byte(`{"cniVersion":"0.4.0","name":"x","prevResult":{"interfaces":[{"name":"eth0","sandbox":"x","mac":"02:00:00:00:00:01"}],
		"ips":[{"version":"4","address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0}],"routes":[{"dst":"0.0.0.0/0"}]}}`))
	f.Add([]byte(`{"cniVersion":"1.1.0","prevResult":{"interfaces":[null],"ips":[null],"routes":[null]}}`))
	f.Add([]byte(`{"runtimeConfig":{"mac":"02:00:00:00:00:01"},"dns":{"nameservers":["1.1.1.1"]},"delegate":null}`))
	f.Add([]byte(`{"cni.dev/valid-attachments":[{"containerID":"abc","ifname":"eth0"}],"runtimeConfig":{"ips":["10.42.7.9/24"]}}`))
	f.Add([]byte(`{"args":{"cni":{"ips":["fd00::1"]}},"ipam":{"ranges":[[{"subnet":"10.42.0.0/16","rangeStart":"10.42.7.9"}]],"reserved":["10.42.7.2"]}}`))
	f.Add([]byte("IgnoreUnknown=1;IP=10.42.7.9,fd00::9;K8S_POD_NAME=x"))
	f.Add([]byte("percale-cni pods abc eth0"))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		c, err := parseConfig(stdin)
		if err != nil {
			return
		}
		if valid, err := c.valid(); err == nil {
			for own := range valid {
				if own.Ifname != "" && own.Check() != nil {
					t.Errorf("valid attachments hold %q", own)
				}
			}
		}
		if network, own, ok := parseAlias(string(stdin)); ok && alias(network, own) != string(stdin) && len(stdin) < 256 {
			t.Errorf("alias %q is read as %s, %v", stdin, network, own)
		}
		if s, err := c.settings(string(stdin)); err == nil {
			for _, a := range s.wanted {
				if !a.IsValid() || a.Zone() != "" {
					t.Errorf("wanted %v", s.wanted)
				}
			}
			p, err := newPlan(s, mustEnv(t), true)
			if err == nil && (!isLinkName(p.bridge.Name) || p.bridge.MTU < 68) {
				t.Errorf("plan = %+v; want a bridge that can be made", p)
			}
		}
		prev, err := c.prevResult()
		if err != nil {
			return
		}
		r, err := types100.NewResultFromResult(prev)
		if err != nil {
			return
		}
		a, err := attachmentOf(r, local.Owner{Container: "abc", Ifname: "eth0"})
		if err != nil {
			return
		}
		for _, p := range a.Addresses {
			if !p.IsValid() {
				t.Errorf("attachment = %+v; want valid addresses", a)
			}
		}
	})
}

func mustEnv(t *testing.T) local.Env {
	t.Helper()
	e, err := local.ParseEnv([]byte(envDual))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The file that is shipped for flannel works when the type is changed.
func TestFlannelConfiguration(t *testing.T) {
	t.Parallel()
	n, p := newNode(t, envV4), netns.Temp(t)
	c := conf{
		"cniVersion": "0.3.1", "name": "cbr0", "type": "percale-cni", "dataDir": n.dir, "subnetFile": n.envPath(),
		"delegate": conf{"hairpinMode": true, "isDefaultGateway": true}, "ipam": conf{"dataDir": n.dir + "/networks"},
		"capabilities": conf{"portMappings": true}, "runtimeConfig": conf{"portMappings": []any{conf{"hostPort": 80}}},
	}
	out, err := n.do(t, call{"ADD", "abc", p.Path(), "eth0", c})
	var noted *noteError
	if !errors.As(err, &noted) || !strings.Contains(noted.stderr, "runtimeConfig.portMappings is ignored") {
		t.Fatalf("ADD with port mappings = %v; want a note", err)
	}
	var r map[string]any
	if err := json.Unmarshal(out, &r); err != nil || r["cniVersion"] != "0.3.1" {
		t.Errorf("result = %s, %v; want one of version 0.3.1", out, err)
	}
	if err := n.del(t, "abc", p.Path(), c); err != nil {
		t.Error(err)
	}
}
