// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types040 "github.com/containernetworking/cni/pkg/types/040"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/percale-net/percale/internal/netns"
)

var specVersions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// The result of each version is one by the CNI project's own types, and says
// the same when a runtime has turned it into any other version.
func TestResultConforms(t *testing.T) {
	t.Parallel()
	for _, v := range specVersions {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envDual), netns.Temp(t)
			c := n.conf(conf{"isDefaultGateway": true, "dns": conf{
				"nameservers": []string{"10.43.0.10"}, "domain": "cluster.local", "search": []string{"svc.cluster.local"}, "options": []string{"ndots:5"}}})
			c["cniVersion"] = v
			out, err := n.do(t, call{"ADD", "abc", p.Path(), "eth0", c})
			if err != nil {
				t.Fatal(err)
			}
			r, err := create.Create(v, out)
			if err != nil || r.Version() != v {
				t.Fatalf("result of version %s: %v; %s", v, err, out)
			}
			wantStrict(t, v, out)
			whole := asNewest(t, r)
			wantSense(t, whole, p)
			for _, to := range append([]string{"0.1.0", "0.2.0"}, specVersions...) {
				other, err := r.GetAsVersion(to)
				if err != nil {
					t.Errorf("as %s: %v", to, err)
					continue
				}
				var printed bytes.Buffer
				if err := other.PrintTo(&printed); err != nil {
					t.Error(err)
				}
				again, err := create.Create(to, printed.Bytes())
				if err != nil {
					t.Errorf("printed as %s: %v", to, err)
					continue
				}
				if got := asNewest(t, again); !reflect.DeepEqual(essence(got), essence(whole)) {
					t.Errorf("by way of %s: %v; want %v", to, essence(got), essence(whole))
				}
			}
		})
	}
}

func asNewest(t *testing.T, r types.Result) *types100.Result {
	t.Helper()
	newest, err := types100.NewResultFromResult(r)
	if err != nil {
		t.Fatal(err)
	}
	return newest
}

// essence is what no version loses: addresses, gateways, routes, DNS.
func essence(r *types100.Result) []string {
	all := []string{fmt.Sprint(r.DNS)}
	for _, ip := range r.IPs {
		all = append(all, fmt.Sprint(ip.Address.String(), " gw ", ip.Gateway))
	}
	for _, e := range r.Routes {
		all = append(all, fmt.Sprint(e.Dst.String(), " via ", e.GW))
	}
	slices.Sort(all) // those before 0.3.0 have IPv4 and IPv6 apart
	return all
}

// wantStrict fails if the result has a key that the version's type does not
// know, or an address without its family where the version asks for it.
func wantStrict(t *testing.T, v string, out []byte) {
	t.Helper()
	strict := json.NewDecoder(bytes.NewReader(out))
	strict.DisallowUnknownFields()
	if v >= "1.0.0" {
		if err := strict.Decode(&types100.Result{}); err != nil {
			t.Error(err)
		}
		if bytes.Contains(out, []byte(`"version"`)) || bytes.Contains(out, []byte(`"mtu"`)) != (v >= "1.1.0") {
			t.Errorf("keys of another version: %s", out)
		}
		return
	}
	var r types040.Result
	if err := strict.Decode(&r); err != nil {
		t.Error(err)
	}
	for _, ip := range r.IPs {
		if is4 := ip.Address.IP.To4() != nil; ip.Version != map[bool]string{true: "4", false: "6"}[is4] {
			t.Errorf("address %v is of version %q", ip.Address, ip.Version)
		}
	}
}

// wantSense fails unless the parts of a result fit each other, as the
// specification asks.
func wantSense(t *testing.T, r *types100.Result, pod netns.NS) {
	t.Helper()
	names := map[string]bool{}
	for _, i := range r.Interfaces {
		if names[i.Name] || i.Mac == "" || i.Sandbox != "" && i.Sandbox != pod.Path() || (i.Sandbox != "") != (i.Name == "eth0") {
			t.Errorf("interface %+v; want a name of its own, a MAC, and eth0 alone in the sandbox", i)
		}
		names[i.Name] = true
	}
	for _, ip := range r.IPs {
		p, gateway := prefixOf(ip.Address), addrOf(ip.Gateway)
		if ip.Interface == nil || r.Interfaces[*ip.Interface].Name != "eth0" {
			t.Errorf("address %s belongs to interface %v; want eth0", p, ip.Interface)
		}
		if p == p.Masked() || gateway == p.Addr() || !p.Contains(gateway) {
			t.Errorf("address %s, gateway %s; want an address with its prefix, and a gateway in it", p, gateway)
		}
	}
	for _, e := range r.Routes {
		if dst := prefixOf(e.Dst); dst != dst.Masked() || addrOf(e.GW).Is4() != dst.Addr().Is4() {
			t.Errorf("route to %s via %s; want a prefix, and a gateway of its family", dst, e.GW)
		}
	}
	for _, server := range r.DNS.Nameservers {
		if _, err := netip.ParseAddr(server); err != nil {
			t.Error(err)
		}
	}
	if len(r.Interfaces) != 3 || len(r.IPs) != 2 || len(r.Routes) != 4 || len(r.DNS.Nameservers) != 1 {
		t.Errorf("result = %+v; want three interfaces, two addresses, four routes, a name server", r)
	}
}

// A verb works in the versions that have it, and is refused by code 1 in those
// that do not.
func TestVerbsOfVersions(t *testing.T) {
	t.Parallel()
	since := map[string]string{"ADD": "0.3.0", "CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0", "DEL": "0.3.0"}
	for _, v := range append(slices.Clone(specVersions), "", "0.2.0", "2.0.0", "x") {
		t.Run("version "+v, func(t *testing.T) {
			t.Parallel()
			n, p := newNode(t, envV4), netns.Temp(t)
			c := n.conf(nil)
			c["cniVersion"] = v
			known := slices.Contains(specVersions, v)
			for _, verb := range []string{"ADD", "CHECK", "STATUS", "GC", "DEL"} {
				out, err := n.do(t, call{verb, "abc", p.Path(), "eth0", c})
				switch {
				case known && v >= since[verb] && err != nil:
					t.Errorf("%s: %v", verb, err)
				case known && v < since[verb]:
					wantError(t, verb, err, types.ErrIncompatibleCNIVersion, "does not allow "+verb)
				case !known:
					wantError(t, verb, err, types.ErrIncompatibleCNIVersion, "want a version that percale-cni knows")
				case verb == "ADD":
					c["prevResult"] = json.RawMessage(out)
					c["cni.dev/valid-attachments"] = []conf{{"containerID": "abc", "ifname": "eth0"}}
				case len(out) > 0:
					t.Errorf("%s printed %q; want nothing", verb, out)
				}
			}
			n.wantNothing(t, p)
			out, err := n.do(t, call{"VERSION", "", "", "", c})
			if err != nil {
				t.Fatal(err)
			}
			said, err := (&version.PluginDecoder{}).Decode(out)
			if err != nil || !slices.Equal(said.SupportedVersions(), specVersions) {
				t.Errorf("VERSION printed %s, %v; want %v", out, err, specVersions)
			}
		})
	}
}
