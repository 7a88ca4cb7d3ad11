// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

func TestNetConf(t *testing.T) {
	for _, test := range []struct {
		name    string
		spec    Spec
		network int
		want    string
	}{
		{"defaults", Spec{}, 0, `{"Backend":{"Type":"vxlan","VNI":1},"Network":"10.244.0.0/16"}`},
		{"second network", Spec{}, 1, `{"Backend":{"Type":"vxlan","VNI":2},"Network":"10.243.0.0/16"}`},
		{"dual stack, no VNI for host-gw", Spec{Families: Dual, Backend: "host-gw"}, 0,
			`{"Backend":{"Type":"host-gw"},"EnableIPv6":true,"IPv6Network":"fd00:10:244::/48","Network":"10.244.0.0/16"}`},
		{"IPv6 only", Spec{Families: IPv6}, 0,
			`{"Backend":{"Type":"vxlan","VNI":1},"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10:244::/48"}`},
		{"merged key by key", Spec{Conf: json.RawMessage(`{"Backend":{"Port":4789},"Network":"10.0.0.0/8"}`)}, 0,
			`{"Backend":{"Port":4789,"Type":"vxlan","VNI":1},"Network":"10.0.0.0/8"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.spec.Bin = "bin"
			if err := test.spec.fill(); err != nil {
				t.Fatal(err)
			}
			got, err := test.spec.NetConf(test.network)
			if err != nil || string(got) != test.want {
				t.Errorf("NetConf = %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestSpecReportsAllThatIsWrong(t *testing.T) {
	s := Spec{Name: "Too-Long-Name", Nodes: 300, Pods: -1, Switches: 3, Networks: 10, Families: "both",
		Conf: json.RawMessage(`[]`), Bin: "bin"}
	err := s.fill()
	for _, want := range []string{"Too-Long-Name", "300 nodes", "-1 pods", "3 switches", "10 networks", `"both"`, "JSON object"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fill = %v; want it to name %q", err, want)
		}
	}
}

// TestSpecOfKube wants what a lab with Kubernetes cannot be, or lacks, to be
// named.
func TestSpecOfKube(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "bin") // with nothing in it
	for _, tt := range []struct {
		spec Spec
		want string
	}{
		{Spec{Store: "consul"}, `store "consul": want etcd or kube`},
		{Spec{Store: StoreKube, Networks: 2}, "2 networks on Kubernetes"},
		{Spec{Store: StoreKube}, "--manifest"},
		{Spec{Store: StoreKube, Manifest: "a.yaml"}, "make kubeapi"},
	} {
		tt.spec.Bin = bin
		if err := tt.spec.fill(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("fill of %+v = %v; want it to say %q", tt.spec, err, tt.want)
		}
	}
}

func TestUnderlay(t *testing.T) {
	s := Spec{Bin: "bin", Switches: 2, Families: Dual}
	if err := s.fill(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		index         int
		bridge, hosts string
	}{
		{1, "sw1", "[192.168.77.11/24 fd77::b/64]"},
		{2, "sw2", "[192.168.78.12/24 fd78::c/64]"},
		{3, "sw1", "[192.168.77.13/24 fd77::d/64]"},
		{maxNodes, "sw2", "[192.168.78.210/24 fd78::d2/64]"},
	} {
		u := s.underlayOf(test.index)
		if got := fmt.Sprint(u.host(test.index)); u.bridge != test.bridge || got != test.hosts {
			t.Errorf("node %d: on %s with %s; want %s with %s", test.index, u.bridge, got, test.bridge, test.hosts)
		}
	}
	if got, want := s.etcdEndpoint(), "http://192.168.77.1:2379"; got != want {
		t.Errorf("etcd at %s; want %s", got, want)
	}
	s.Families = IPv6
	if got, want := s.etcdEndpoint(), "http://[fd77::1]:2379"; got != want {
		t.Errorf("etcd at %s; want %s", got, want)
	}
}

func TestParseResult(t *testing.T) {
	got, err := parseResult([]byte(`{"cniVersion":"1.1.0","ips":[{"address":"10.244.1.2/24"},{"address":"fd00::2/64"}]}`))
	want := []netip.Addr{netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("fd00::2")}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("parseResult = %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "{}", `{"ips":[{"address":"10.244.1.2"}]}`, `{"ips":[`} {
		if got, err := parseResult([]byte(bad)); err == nil {
			t.Errorf("parseResult(%q) = %v; want an error", bad, got)
		}
	}
}
