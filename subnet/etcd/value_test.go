// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/percale-net/percale/subnet"
)

const data = `{"VNI":1,"VtepMAC":"26:1b:5e:7a:01:02"}`

func endpoint(s, uplink, data string) subnet.Endpoint {
	return subnet.Endpoint{Subnet: netip.MustParsePrefix(s), Uplink: netip.MustParseAddr(uplink), Data: data}
}

func TestValueGolden(t *testing.T) {
	v4, v6 := endpoint("10.3.17.0/24", "192.168.1.10", data), endpoint("fc00:0:0:23::/64", "fd01::10", data)
	bare := subnet.Endpoint{Subnet: v4.Subnet, Uplink: v4.Uplink}
	for _, c := range []struct {
		lease subnet.Lease
		key   string
		value string
	}{
		{
			subnet.Lease{Node: "n3", Backend: "vxlan", V4: v4}, "10.3.17.0-24",
			`{"PublicIP":"192.168.1.10","PublicIPv6":null,"BackendType":"vxlan","BackendData":` + data + `,"Node":"n3"}`,
		}, {
			subnet.Lease{Node: "n3", Backend: "vxlan", V4: v4, V6: v6}, "10.3.17.0-24&fc00:0:0:23::-64",
			`{"PublicIP":"192.168.1.10","PublicIPv6":"fd01::10","BackendType":"vxlan","BackendData":` + data + `,"BackendV6Data":` + data + `,"Node":"n3"}`,
		}, {
			subnet.Lease{Node: "n3", Backend: "vxlan", V6: v6}, "0.0.0.0-0&fc00:0:0:23::-64",
			`{"PublicIP":"0.0.0.0","PublicIPv6":"fd01::10","BackendType":"vxlan","BackendV6Data":` + data + `,"Node":"n3"}`,
		}, {
			subnet.Lease{Node: "n3", Backend: "host-gw", V4: bare}, "10.3.17.0-24",
			`{"PublicIP":"192.168.1.10","PublicIPv6":null,"BackendType":"host-gw","Node":"n3"}`,
		}, {
			subnet.Lease{Backend: "vxlan", V4: v4}, "10.3.17.0-24", // as flannel writes it
			`{"PublicIP":"192.168.1.10","PublicIPv6":null,"BackendType":"vxlan","BackendData":` + data + `}`,
		},
	} {
		key, val, err := encode(c.lease)
		if err != nil || key != c.key || string(val) != c.value {
			t.Errorf("encode(%v) = %q, %s, %v\nwant %q, %s", c.lease, key, val, err, c.key, c.value)
		}
		if got, err := decodeValue(placeOf(c.lease), []byte(c.value)); err != nil || got != c.lease {
			t.Errorf("decodeValue(%s) = %v, %v; want %v", c.value, got, err, c.lease)
		}
	}
}

func TestDecodeValueTakes(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        subnet.Lease
	}{
		{"reservation", `{"PublicIP":"192.168.1.10"}`, subnet.Lease{V4: endpoint("10.3.17.0/24", "192.168.1.10", "")}},
		{"any case", `{"publicip":"192.168.1.10","BACKENDTYPE":"vxlan","node":"n3"}`, subnet.Lease{Node: "n3", Backend: "vxlan", V4: endpoint("10.3.17.0/24", "192.168.1.10", "")}},
		{"last duplicate", `{"PublicIP":"192.168.1.9","PublicIP":"192.168.1.10"}`, subnet.Lease{V4: endpoint("10.3.17.0/24", "192.168.1.10", "")}},
		{"unknown fields", `{"PublicIP":"192.168.1.10","Zone":{"a":[1]}}`, subnet.Lease{V4: endpoint("10.3.17.0/24", "192.168.1.10", "")}},
		{"spaces", "{ \"PublicIP\" : \"192.168.1.10\", \"BackendData\" : { \"VNI\" : 1,\n \"x\": \"a b\" } }", subnet.Lease{V4: endpoint("10.3.17.0/24", "192.168.1.10", `{"VNI":1,"x":"a b"}`)}},
		{"null data", `{"PublicIP":"192.168.1.10","BackendData":null}`, subnet.Lease{V4: endpoint("10.3.17.0/24", "192.168.1.10", "")}},
		{"no address", `{}`, subnet.Lease{V4: subnet.Endpoint{Subnet: netip.MustParsePrefix("10.3.17.0/24")}}},
		{"0.0.0.0 is none", `{"PublicIP":"0.0.0.0"}`, subnet.Lease{V4: subnet.Endpoint{Subnet: netip.MustParsePrefix("10.3.17.0/24")}}},
		{"other family left out", `{"PublicIP":"192.168.1.10","PublicIPv6":"fd01::1","BackendV6Data":{}}`, subnet.Lease{V4: endpoint("10.3.17.0/24", "192.168.1.10", "")}},
	} {
		if got, err := decodeValue(at("10.3.17.0/24", ""), []byte(c.value)); err != nil || got != c.want {
			t.Errorf("%s: decodeValue = %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func TestDecodeValueRefuses(t *testing.T) {
	for _, c := range []struct{ name, value, says string }{
		{"empty", ``, "JSON"},
		{"no object", `"10.0.0.1"`, "JSON"},
		{"truncated", `{"PublicIP":"192.168.1.1`, "JSON"},
		{"more after", `{"PublicIP":"192.168.1.10"}{}`, "JSON"},
		{"binary", "\x00\xff\x01", "JSON"},
		{"type", `{"PublicIP":42}`, "JSON"},
		{"address", `{"PublicIP":"192.168.1.999"}`, "PublicIP is"},
		{"family", `{"PublicIP":"fd01::1"}`, "IPv4 address would be right"},
		{"family 6", `{"PublicIPv6":"192.168.1.1"}`, "IPv6 address would be right"},
		{"mapped", `{"PublicIPv6":"::ffff:192.168.1.1"}`, "IPv6"},
		{"zone", `{"PublicIPv6":"fe80::1%eth0"}`, "IPv6"},
		{"control characters", `{"PublicIP":"192.168.1.10","Node":"n\u001b[31m3"}`, "printable"},
		{"long name", `{"Node":"` + strings.Repeat("n", 254) + `"}`, "253"},
		{"backend name", `{"BackendType":"vx lan"}`, "BackendType"},
		{"large", `{"Node":"n"` + strings.Repeat(" ", maxValueBytes) + `}`, "16384"},
	} {
		if got, err := decodeValue(at("10.3.17.0/24", ""), []byte(c.value)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: decodeValue = %v, %v; want an error that says %q", c.name, got, err, c.says)
		} else if len(err.Error()) > 300 {
			t.Errorf("%s: error has %d bytes; want it bounded", c.name, len(err.Error()))
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	v4 := endpoint("10.3.17.0/24", "192.168.1.10", "")
	for name, l := range map[string]subnet.Lease{
		"nothing":   {Node: "n1"},
		"host bits": {Node: "n1", V4: endpoint("10.3.17.1/24", "192.168.1.10", "")},
		"data":      {Node: "n1", V4: endpoint("10.3.17.0/24", "192.168.1.10", "{")},
		"name":      {Node: "n 1", V4: v4},
		"family":    {Node: "n1", V4: endpoint("10.3.17.0/24", "fd01::1", "")},
	} {
		if key, val, err := encode(l); err == nil {
			t.Errorf("%s: encode = %s, %s; want an error", name, key, val)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, seed := range []string{
		`{"PublicIP":"192.168.1.10","PublicIPv6":null,"BackendType":"vxlan","BackendData":` + data + `,"Node":"n3"}`,
		`{"PublicIP":"0.0.0.0","PublicIPv6":"fd01::10","BackendType":"vxlan","BackendV6Data":` + data + `}`,
		`{"PublicIP":"192.168.1.10"}`, `{"BackendData":"<&>\u2028"}`, `{"BackendData":[1, 2]}`, `{"BackendData":"\ud800"}`, `{}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, val []byte) {
		for _, p := range []place{at("10.3.17.0/24", ""), at("", "fc00::/64"), at("10.3.17.0/24", "fc00::/64")} {
			l, err := decodeValue(p, val)
			if err != nil {
				continue
			}
			key, again, err := encode(l)
			if err != nil && len(val) > maxValueBytes/2 {
				continue // our own form may be longer
			}
			if err != nil || key != p.key() {
				t.Fatalf("encode(decodeValue(%q)) = %q, %v", val, key, err)
			}
			if back, err := decodeValue(p, again); err != nil || back != l {
				t.Fatalf("round trip of %q = %+v, %v; want %+v", val, back, err, l)
			}
		}
	})
}

func BenchmarkDecode15000(b *testing.B) {
	val := []byte(`{"PublicIP":"192.168.1.10","PublicIPv6":null,"BackendType":"vxlan","BackendData":` + data + `,"Node":"node-00017"}`)
	keys := make([]string, 15000)
	for i := range keys {
		keys[i] = fmt.Sprintf("10.%d.%d.0-24", i>>8, i&255)
	}
	for b.Loop() {
		for _, k := range keys {
			p, err := parseKey(k)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := decodeValue(p, val); err != nil {
				b.Fatal(err)
			}
		}
	}
}
