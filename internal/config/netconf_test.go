// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/percale-net/percale/subnet"
)

func TestPoolDefaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ conf, want string }{ // network, length, first and last subnet
		{`{"Network":"10.3.0.0/16"}`, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"},
		{`{"Network":"10.0.0.0/8"}`, "10.0.0.0/8 24 10.0.1.0 10.255.255.0"},
		{`{"Network":"10.3.0.0/22"}`, "10.3.0.0/22 24 10.3.1.0 10.3.3.0"},
		{`{"Network":"10.3.0.0/23"}`, "10.3.0.0/23 25 10.3.0.128 10.3.1.128"},
		{`{"Network":"10.3.0.0/28"}`, "10.3.0.0/28 30 10.3.0.4 10.3.0.12"},
		{`{"Network":"10.3.7.9/16"}`, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"},
		{`{"network":"10.3.0.0/16","SUBNETLEN":26}`, "10.3.0.0/16 26 10.3.0.64 10.3.255.192"},
		{`{"Network":"10.3.0.0/16","SubnetMin":"10.3.0.0","SubnetMax":"10.3.9.0"}`, "10.3.0.0/16 24 10.3.0.0 10.3.9.0"},
		{`{"Network":"10.3.0.0/16","SubnetMin":"10.3.9.0","SubnetMax":"10.3.9.0"}`, "10.3.0.0/16 24 10.3.9.0 10.3.9.0"},
		{`{"Network":"10.3.0.0/16","SubnetMin":null,"SubnetMax":""}`, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"},
		{`{"Network":"240.0.0.0/8"}`, "240.0.0.0/8 24 240.0.1.0 240.255.255.0"},
		{`{"Network":"10.3.0.0/16","EnableIPv6":false,"IPv6Network":"::/0"}`, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"},

		{`{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48"}`, "fc00::/48 64 fc00:0:0:1:: fc00:0:0:ffff::"},
		{`{"EnableIPv4":false,"Network":"0.0.0.0/0","EnableIPv6":true,"IPv6Network":"fc00::/62"}`, "fc00::/62 64 fc00:0:0:1:: fc00:0:0:3::"},
		{`{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/63"}`, "fc00::/63 65 fc00:0:0:0:8000:: fc00:0:0:1:8000::"},
		{`{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/124"}`, "fc00::/124 126 fc00::4 fc00::c"},
		{`{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetLen":80,"IPv6SubnetMin":"fc00:0:0:1::","IPv6SubnetMax":"fc00:0:0:1:1::"}`,
			"fc00::/48 80 fc00:0:0:1:: fc00:0:0:1:1::"},
		{`{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48"}`,
			"10.3.0.0/16 24 10.3.1.0 10.3.255.0 fc00::/48 64 fc00:0:0:1:: fc00:0:0:ffff::"},
	} {
		c, err := ParseNetConf([]byte(tt.conf))
		var got []string
		for _, p := range []subnet.Pool{c.Pools.V4, c.Pools.V6} {
			if p.Enabled() {
				got = append(got, fmt.Sprint(p.Network, p.Len, " ", p.Min, " ", p.Max))
			}
		}
		if s := strings.Join(got, " "); err != nil || normal(s) != normal(tt.want) {
			t.Errorf("ParseNetConf(%s) = %s, %v; want %s", tt.conf, s, err, tt.want)
		}
	}
}

// normal rewrites every address to its one canonical form.
func normal(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if a, err := netip.ParseAddr(w); err == nil {
			words[i] = a.String()
		}
	}
	return strings.Join(words, " ")
}

func TestBackendAndFirewall(t *testing.T) {
	t.Parallel()
	vxlan := Backend{Type: "vxlan", VNI: 1, Port: 8472}
	for _, tt := range []struct {
		more     string // members beside Network
		backend  Backend
		firewall Firewall
	}{
		{``, vxlan, FirewallAuto},
		{`,"Backend":null`, vxlan, FirewallAuto},
		{`,"Backend":{"Type":"vxlan"}`, vxlan, FirewallAuto},
		{`,"Backend":{"type":"VXLAN","Name":"x","MacPrefix":"0E-2A"}`, vxlan, FirewallAuto},
		{`,"Backend":{"Type":"vxlan","Port":0,"MTU":0,"VNI":16777215}`, Backend{Type: "vxlan", VNI: 1<<24 - 1, Port: 8472}, FirewallAuto},
		{`,"Backend":{"Type":"vxlan","VNI":7,"Port":4789,"MTU":9000,"GBP":true,"Learning":true,"DirectRouting":true,"Guard":false}`,
			Backend{Type: "vxlan", VNI: 7, Port: 4789, MTU: 9000, GBP: true, Learning: true, DirectRouting: true, Unguarded: true}, FirewallAuto},
		{`,"Backend":{"Type":"Host-GW","Name":"cbr0","DNSServerList":["10.0.0.10"]}`, Backend{Type: "host-gw"}, FirewallAuto},
		{`,"EnableNFTables":true`, vxlan, FirewallNFTables},
		{`,"EnableNFTables":false`, vxlan, FirewallAuto},
		{`,"EnableNFTables":false,"Firewall":"iptables"`, vxlan, FirewallIptables},
		{`,"Firewall":"NFTables"`, vxlan, FirewallNFTables},
		{`,"Firewall":"nftables","EnableNFTables":true`, vxlan, FirewallNFTables},
		{`,"Firewall":""`, vxlan, FirewallAuto},
	} {
		c, err := ParseNetConf([]byte(`{"Network":"10.244.0.0/16"` + tt.more + `}`))
		if err != nil || c.Backend != tt.backend || c.Firewall != tt.firewall {
			t.Errorf("%s: %+v, %q, %v; want %+v, %q", tt.more, c.Backend, c.Firewall, err, tt.backend, tt.firewall)
		}
	}
}

func TestNetConfProblems(t *testing.T) {
	t.Parallel()
	v4 := func(more string) string { return `{"Network":"10.244.0.0/16",` + more + `}` }
	v6 := func(more string) string { return `{"EnableIPv4":false,"EnableIPv6":true,` + more + `}` }
	for _, tt := range []struct {
		conf string
		want []string
	}{
		{``, []string{"line 1, column 1: want a JSON object: it ends too early"}},
		{"{\n \"Network\": \"ä\",\n}", []string{"line 3, column 1: want a JSON object: invalid character '}' looking for beginning of object key string"}},
		{"{\"Network\": \"ä\" x}", []string{"line 1, column 17: want a JSON object: invalid character 'x' after object key:value pair"}},
		{"{\"Network\":\n\"10.244.0.0/16\"", []string{"line 2, column 16: want a JSON object: it ends too early"}},
		{"{}\n{}", []string{"line 2, column 1: want a JSON object: invalid character '{' after top-level value"}},
		{`[1]`, []string{`net-conf [1]: want a JSON object`}},
		{`null`, []string{`net-conf null: want a JSON object`}},
		{strings.Repeat(" ", maxNetConf) + "{}", []string{"net-conf: want at most 65536 bytes: it has 65538"}},

		{`{}`, []string{`Network: want the pods' network such as "10.244.0.0/16", or "EnableIPv4": false`}},
		{`{"Network":""}`, []string{`Network: want the pods' network such as "10.244.0.0/16", or "EnableIPv4": false`}},
		{`{"Network":7}`, []string{`Network 7: want a text in quotes`}},
		{`{"Network":"10.244.0.0"}`, []string{`Network "10.244.0.0": want an IPv4 network such as "10.244.0.0/16"`}},
		{`{"Network":"fc00::/48"}`, []string{`Network "fc00::/48": want an IPv4 network such as "10.244.0.0/16"`}},
		{`{"Network":"10.0.0.0/29"}`, []string{`Network "10.0.0.0/29": want a larger network, /28 or shorter, to hold four subnets`}},
		{`{"Network":"0.0.0.0/0"}`, []string{`Network "0.0.0.0/0": want a network of unicast addresses such as "10.244.0.0/16", outside 0.0.0.0/8`}},
		{`{"Network":"127.0.0.0/16"}`, []string{`Network "127.0.0.0/16": want a network of unicast addresses such as "10.244.0.0/16", outside 127.0.0.0/8`}},
		{`{"Network":"169.254.0.0/16"}`, []string{`Network "169.254.0.0/16": want a network of unicast addresses such as "10.244.0.0/16", outside 169.254.0.0/16`}},
		{`{"Network":"239.1.0.0/16"}`, []string{`Network "239.1.0.0/16": want a network of unicast addresses such as "10.244.0.0/16", outside 224.0.0.0/4`}},
		{v4(`"SubnetLen":31`), []string{`SubnetLen 31: want a number from 18 to 30, without quotes`}},
		{v4(`"SubnetLen":17`), []string{`SubnetLen 17: want a number from 18 to 30, without quotes`}},
		{v4(`"SubnetLen":"24"`), []string{`SubnetLen "24": want a number from 18 to 30, without quotes`}},
		{v4(`"SubnetLen":24.0`), []string{`SubnetLen 24.0: want a number from 18 to 30, without quotes`}},
		{v4(`"SubnetMin":"10.245.0.0"`), []string{`SubnetMin "10.245.0.0": want an address inside 10.244.0.0/16 such as "10.244.1.0"`}},
		{v4(`"SubnetMax":"10.245.0.0"`), []string{`SubnetMax "10.245.0.0": want an address inside 10.244.0.0/16 such as "10.244.255.0"`}},
		{v4(`"SubnetMin":"10.244.1.7"`), []string{`SubnetMin "10.244.1.7": want the first address of a /24 such as "10.244.1.0"`}},
		{v4(`"SubnetMin":"10.244.1.0/24"`), []string{`SubnetMin "10.244.1.0/24": want an IPv4 address without a length`}},
		{v4(`"SubnetMin":"fc00::"`), []string{`SubnetMin "fc00::": want an IPv4 address without a length`}},
		{v4(`"SubnetMin":"10.244.9.0","SubnetMax":"10.244.8.0"`), []string{`SubnetMax "10.244.8.0": want it not below SubnetMin, which is 10.244.9.0`}},

		{`{"EnableIPv4":false}`, []string{`EnableIPv4: want it or "EnableIPv6" true: both families are off`}},
		{v4(`"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48"`),
			[]string{`Network "10.244.0.0/16": want "EnableIPv4": true with it, or no such key: IPv4 is off`}},
		{v4(`"IPv6Network":"fc00::/48"`), []string{`IPv6Network "fc00::/48": want "EnableIPv6": true with it, or no such key: IPv6 is off`}},
		{v4(`"EnableIPv6":true`), []string{`IPv6Network: want the pods' network such as "fd00:10:244::/48", or "EnableIPv6": false`}},
		{v6(`"IPv6Network":"10.0.0.0/8"`), []string{`IPv6Network "10.0.0.0/8": want an IPv6 network such as "fd00:10:244::/48"`}},
		{v6(`"IPv6Network":"fe80::/64"`), []string{`IPv6Network "fe80::/64": want a network of unicast addresses such as "fd00:10:244::/48", outside fe80::/10`}},
		{v6(`"IPv6Network":"::ffff:10.0.0.0/104"`), []string{`IPv6Network "::ffff:10.0.0.0/104": want a network of unicast addresses such as "fd00:10:244::/48", outside ::/8`}},
		{v6(`"IPv6Network":"fc00::/125"`), []string{`IPv6Network "fc00::/125": want a larger network, /124 or shorter, to hold four subnets`}},
		{v6(`"IPv6Network":"fc00::/48","IPv6SubnetLen":127`), []string{`IPv6SubnetLen 127: want a number from 50 to 126, without quotes`}},
		{v6(`"IPv6Network":"fc00::/48","IPv6SubnetMin":"fc00:0:0:1::1"`), []string{`IPv6SubnetMin "fc00:0:0:1::1": want the first address of a /64 such as "fc00:0:0:1::"`}},
		{v6(`"IPv6Network":"fc00::/48","IPv6SubnetMax":"fc00::%eth0"`), []string{`IPv6SubnetMax "fc00::%eth0": want an IPv6 address without a length`}},
		{v6(`"IPv6Network":"fc00::/48","Backend":{"Type":"vxlan","MTU":1349}`), []string{`Backend.MTU 1349: want 1350 or more: IPv6 pods need 1280, and their tunnel takes 70`}},

		{v4(`"EnableIPv4":"true"`), []string{`EnableIPv4 "true": want true or false, without quotes`}},
		{v4(`"EnableNFTables":true,"Firewall":"iptables"`), []string{`Firewall "iptables": want "nftables" with "EnableNFTables": true, or one of the two keys alone`}},
		{v4(`"Firewall":"ufw"`), []string{`Firewall "ufw": want "nftables" or "iptables", or no such key to have it chosen`}},

		{v4(`"Backend":"vxlan"`), []string{`Backend "vxlan": want a JSON object`}},
		{v4(`"Backend":{}`), []string{`Backend.Type: want "vxlan" or "host-gw"`}},
		{v4(`"Backend":{"Type":""}`), []string{`Backend.Type "": want "vxlan" or "host-gw"`}},
		{v4(`"Backend":{"Type":1}`), []string{`Backend.Type 1: want a text in quotes`}},
		{v4(`"Backend":{"Type":"geneve"}`), []string{`Backend.Type "geneve": want "vxlan" or "host-gw"`}},
		{v4(`"Backend":{"Type":"UDP"}`), []string{`Backend.Type "UDP": want "vxlan": udp is a slow path for debugging`}},
		{v4(`"Backend":{"Type":"wireguard","PSK":"s3cret"}`), []string{`Backend.Type "wireguard": want "vxlan" or "host-gw": WireGuard is planned, but not in this release`}},
		{v4(`"Backend":{"Type":"vxlan","VNI":0}`), []string{`Backend.VNI 0: want a number from 1 to 16777215, without quotes`}},
		{v4(`"Backend":{"Type":"vxlan","VNI":16777216}`), []string{`Backend.VNI 16777216: want a number from 1 to 16777215, without quotes`}},
		{v4(`"Backend":{"Type":"vxlan","Port":65536}`), []string{`Backend.Port 65536: want a number from 1 to 65535, without quotes, or 0 for the default, 8472`}},
		{v4(`"Backend":{"Type":"vxlan","MTU":100}`), []string{`Backend.MTU 100: want a number from 576 to 65535, without quotes, or 0 for the uplink's`}},
		{v4(`"Backend":{"Type":"vxlan","GBP":1}`), []string{`Backend.GBP 1: want true or false, without quotes`}},
		{v4(`"Backend":{"Type":"host-gw","VNI":1}`), []string{`Backend.VNI: unknown key with "host-gw": remove it`}},

		{v4(`"SubnetLength":24`), []string{`SubnetLength: unknown key; did you mean "SubnetLen"?`}},
		{v4(`"Subnet Len":24`), []string{`Subnet Len: unknown key; did you mean "SubnetLen"?`}},
		{v4(`"vni":24`), []string{`vni: unknown key; did you mean Backend.VNI?`}},
		{v4(`"PSK":"s3cret"`), []string{`PSK: unknown key: remove it`}},
		{v4(`"Backend":{"Type":"vxlan","Vnid":2,"Network":"10.0.0.0/8"}`),
			[]string{`Backend.Vnid: unknown key; did you mean "VNI"?`, `Backend.Network: unknown key in Backend: move "Network" out of it`}},
		{v4(`"network":"10.244.0.0/16"`), []string{`Network: want it once: it stands there twice`}},
		{v4(`"Backend":{"Type":"vxlan","type":"vxlan"}`), []string{`Backend.Type: want it once: it stands there twice`}},

		{`{"Network":"x","SubnetLen":99,"Nework":1,"Backend":{"Type":"vxlan","VNI":-1,"Port":"a"},"EnableIPv6":true}`, []string{
			`Nework: unknown key; did you mean "Network"?`,
			`Network "x": want an IPv4 network such as "10.244.0.0/16"`,
			`IPv6Network: want the pods' network such as "fd00:10:244::/48", or "EnableIPv6": false`,
			`Backend.VNI -1: want a number from 1 to 16777215, without quotes`,
			`Backend.Port "a": want a number from 1 to 65535, without quotes, or 0 for the default, 8472`,
		}},
	} {
		c, err := ParseNetConf([]byte(tt.conf))
		if want := strings.Join(tt.want, "\n"); err == nil || err.Error() != want || c != (NetConf{}) {
			t.Errorf("ParseNetConf(%.200s) = %+v\n got %v\nwant %s", tt.conf, c, err, want)
		}
		if p, ok := errors.AsType[*Problem](err); !ok || p.Key == "" || p.Want == "" {
			t.Errorf("ParseNetConf(%.200s): %#v; want a Problem with key and remedy", tt.conf, err)
		}
	}
}

func TestRefusedTypesNameAnAlternative(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"udp", "ipsec", "wireguard", "ipip", "alloc", "extension", "tencent-vpc", "aws-vpc", "gce", "ali-vpc"} {
		_, err := ParseNetConf([]byte(`{"Network":"10.244.0.0/16","Backend":{"Type":"` + name + `","Whatever":1}}`))
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), `"vxlan"`) ||
			instead[name] == "" || !strings.HasSuffix(err.Error(), instead[name]) {
			t.Errorf("type %s: %v; want one line with an alternative", name, err)
		}
	}
}

func TestValuesInErrorsAreHarmless(t *testing.T) {
	t.Parallel()
	_, err := ParseNetConf([]byte("{\"Network\":\"\\u001b[31m\u202e" + strings.Repeat("x", 5000) + "\"}"))
	p, ok := errors.AsType[*Problem](err)
	if !ok || len(p.Value) > 80 || strings.ContainsAny(p.Value, "\x1b\n\u202e") {
		t.Errorf("error = %v; want a short value without control characters", err)
	}
}

func FuzzParseNetConf(f *testing.F) {
	for _, s := range []string{
		`{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":1,"Port":8472,"MTU":1500}}`,
		`{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetLen":80,"IPv6SubnetMin":"fc00:0:0:1::"}`,
		`{"Network":"10.3.0.0/28","SubnetMax":"10.3.0.8","Firewall":"iptables","EnableIPv6":true,"IPv6Network":"fd00::/124"}`,
		`{"Backend":{"Type":"host-gw"}}`, `[`, `{"a":{"b":[`, "\xff", `{"Network":"0.0.0.0/1"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseNetConf(raw)
		if err != nil {
			if c != (NetConf{}) || err.Error() == "" {
				t.Errorf("ParseNetConf(%q) = %+v, %q; want nothing with an error", raw, c, err)
			}
			return
		}
		if !c.Pools.V4.Enabled() && !c.Pools.V6.Enabled() {
			t.Errorf("ParseNetConf(%q): no pool", raw)
		}
		for _, p := range []subnet.Pool{c.Pools.V4, c.Pools.V6} {
			if !p.Enabled() {
				continue
			}
			first, last := netip.PrefixFrom(p.Min, p.Len), netip.PrefixFrom(p.Max, p.Len)
			if p.Network != p.Network.Masked() || p.Len < p.Network.Bits()+2 || p.Max.Less(p.Min) ||
				first != first.Masked() || last != last.Masked() || !p.Network.Contains(p.Min) || !p.Network.Contains(p.Max) {
				t.Errorf("ParseNetConf(%q): pool %+v is not sound", raw, p)
			}
		}
		b := c.Backend
		if b.Type == TypeVXLAN && (b.VNI < 1 || b.VNI >= 1<<24 || b.Port < 1 || b.Port > 65535) ||
			b.Type != TypeVXLAN && b != (Backend{Type: TypeHostGW}) {
			t.Errorf("ParseNetConf(%q): backend %+v is not sound", raw, b)
		}
	})
}
