// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube/nodes"
	"github.com/percale-net/percale/subnet/storetest"
)

const flannel = "flannel.alpha.coreos.com/"

func usualKeys(t testing.TB) keys {
	t.Helper()
	k, err := newKeys(usualPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"flannel.alpha.coreos.com": "flannel.alpha.coreos.com/public-ip",
		"example.com/":             "example.com/public-ip",
		"example.com/foo":          "example.com/foo-public-ip",
		"example.com/foo-":         "example.com/foo-public-ip",
		"a/b/c":                    "",
	} {
		k, err := newKeys(prefix)
		if k.uplink4 != want || (err != nil) != (want == "") {
			t.Errorf("prefix %q: %q, %v; want %q", prefix, k.uplink4, err, want)
		}
	}
}

// theirs is what a flannel node n7 publishes, with changes.
func theirs(changes ...string) map[string]string {
	a := map[string]string{
		flannel + "kube-subnet-manager": "true", flannel + "backend-type": "vxlan",
		flannel + "backend-data": `{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}`, flannel + "public-ip": "192.168.0.7",
	}
	for i := 0; i < len(changes); i += 2 {
		a[changes[i]] = changes[i+1]
	}
	return a
}

// both is theirs in two stacks.
func both(changes ...string) map[string]string {
	six := []string{flannel + "backend-v6-data", `{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}`, flannel + "public-ipv6", "fd00::7"}
	return theirs(append(six, changes...)...)
}

// What flannel's agents write, and what is kept of it.
func TestDecode(t *testing.T) {
	t.Parallel()
	cidrs := []string{"10.3.7.0/24", "fc00:0:0:7::/64"}
	v4, dual, v6 := storetest.Lease("n7", 7), storetest.Dual("n7", 7), storetest.V6("n7", 7)
	gateway, noUplink, noType := v4, v4, v4
	gateway.Backend, gateway.V4.Data = "host-gw", ""
	noUplink.V4.Uplink, noType.Backend = netip.Addr{}, ""
	for name, c := range map[string]struct {
		annotations map[string]string
		cidrs       []string // of the spec
		want        subnet.Lease
		refused     string // key
	}{
		"nothing":               {},
		"no part":               {annotations: map[string]string{flannel + "public-ip": "192.168.0.7"}, cidrs: cidrs},
		"flannel's":             {annotations: theirs(), cidrs: cidrs[:1], want: v4},
		"flannel's, two stacks": {annotations: both(), cidrs: cidrs, want: dual},
		"flannel's, not whole":  {annotations: theirs()},
		"flannel's, host-gw": {
			annotations: theirs(flannel+"backend-type", "host-gw", flannel+"backend-data", "null"), cidrs: cidrs[:1], want: gateway},
		"ours":                         {annotations: theirs(keySubnets, "10.3.7.0/24"), want: v4},
		"ours, two stacks":             {annotations: both(keySubnets, "10.3.7.0/24,fc00:0:0:7::/64"), want: dual},
		"ours, IPv4 of the spec's two": {annotations: theirs(keySubnets, "10.3.7.0/24"), cidrs: cidrs, want: v4},
		"white space in data": {
			annotations: theirs(flannel+"backend-data", "{ \"VNI\": 1,\n\"VtepMAC\": \"02:00:00:00:00:07\" }"), cidrs: cidrs[:1], want: v4},
		"no address":    {annotations: theirs(flannel+"public-ip", "0.0.0.0"), cidrs: cidrs[:1], want: noUplink},
		"empty address": {annotations: theirs(flannel+"public-ip", ""), cidrs: cidrs[:1], want: noUplink},

		"a bad address":    {both(flannel+"public-ip", "../x"), cidrs, v6, flannel + "public-ip"},
		"of the other":     {both(flannel+"public-ipv6", "192.168.0.7"), cidrs, v4, flannel + "public-ipv6"},
		"mapped":           {both(flannel+"public-ipv6", "::ffff:1.2.3.4"), cidrs, v4, flannel + "public-ipv6"},
		"data is no JSON":  {both(flannel+"backend-v6-data", "\x00\xff{"), cidrs, v4, flannel + "backend-v6-data"},
		"data is huge":     {theirs(flannel+"backend-data", strings.Repeat("1", 5000)), cidrs[:1], subnet.Lease{}, flannel + "backend-data"},
		"subnets end":      {theirs(keySubnets, "10.3.7.0/24,"), nil, subnet.Lease{}, keySubnets},
		"subnets are text": {theirs(keySubnets, "../../etc"), nil, subnet.Lease{}, keySubnets},
		"subnets are none": {theirs(keySubnets, ""), cidrs, subnet.Lease{}, keySubnets},
		"subnets are many": {theirs(keySubnets, strings.Repeat("10.3.7.0/24,", 1000)), nil, subnet.Lease{}, keySubnets},
		"two of a family":  {theirs(keySubnets, "10.3.7.0/24,10.3.8.0/24"), nil, subnet.Lease{}, keySubnets},
		"host bits":        {theirs(keySubnets, "10.3.7.1/24"), nil, subnet.Lease{}, keySubnets},
		"another's subnet": {theirs(keySubnets, "10.3.9.0/24"), cidrs[:1], subnet.Lease{}, keySubnets},
		"type is binary":   {theirs(flannel+"backend-type", "vx\x1b[2J"), cidrs[:1], noType, flannel + "backend-type"},
		"type is huge":     {theirs(flannel+"backend-type", strings.Repeat("x", 64)), cidrs[:1], noType, flannel + "backend-type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, refused := usualKeys(t).decode(nodes.Node{Name: "n7", Annotations: c.annotations, PodCIDRs: c.cidrs, Whole: c.cidrs != nil})
			if got != c.want {
				t.Errorf("decode = %+v\nwant %+v", got, c.want)
			}
			wantRefused(t, refused, c.refused)
		})
	}
}

// wantRefused wants one annotation of n7 refused, or none, in bounded words.
func wantRefused(t *testing.T, refused []subnet.Refusal, key string) {
	t.Helper()
	var want []string
	if key != "" {
		want = []string{key}
	}
	var got []string
	for _, r := range refused {
		got = append(got, r.Lease)
		if r.Node != "n7" || r.Reason == "" || len(r.Reason) > 400 {
			t.Errorf("refusal %+v; want one of n7 with a reason, and bounded", r)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("refused %q; want %q", got, want)
	}
}

// What was too large to be read is refused by its size, and its family alone.
func TestDecodeOversize(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	n := nodes.Node{Name: "n7", Annotations: k.encode(storetest.Dual("n7", 7), sourceCluster)}
	delete(n.Annotations, k.data4)
	n.Oversize = map[string]int{k.data4: 200_000}
	got, refused := k.decode(n)
	if want := storetest.V6("n7", 7); got != want {
		t.Errorf("decode = %+v; want %+v", got, want)
	}
	wantRefused(t, refused, k.data4)

	delete(n.Annotations, keySubnets)
	n.Oversize = map[string]int{keySubnets: 200_000}
	got, refused = k.decode(n)
	if got != (subnet.Lease{}) || k.needWhole(n) {
		t.Errorf("decode = %+v, whole Node wanted: %t; want nothing of a Node that publishes rubbish", got, k.needWhole(n))
	}
	wantRefused(t, refused, keySubnets)
}

func TestDecodeName(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	for _, name := range []string{"", "../n7", "n7/x", "N7", "-n7", "n7\n", strings.Repeat("n", 254)} {
		got, refused := k.decode(nodes.Node{Name: name, Annotations: k.encode(storetest.Lease("n7", 7), sourceCluster)})
		if got != (subnet.Lease{}) || len(refused) != 1 || len(refused[0].Node) > 300 || strings.Contains(refused[0].Node, "\n") {
			t.Errorf("name %.20q: %+v, refused %+v; want it refused", name, got, refused)
		}
	}
}

func TestNeedWhole(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	ours := theirs(keySubnets, "10.3.7.0/24")
	bystander := theirs()
	delete(bystander, k.manager)
	for _, c := range []struct {
		annotations map[string]string
		want        bool
	}{{ours, false}, {theirs(), true}, {bystander, false}, {nil, false}} {
		if got := k.needWhole(nodes.Node{Name: "n7", Annotations: c.annotations}); got != c.want {
			t.Errorf("%v: whole Node needed: %t; want %t", c.annotations, got, c.want)
		}
	}
}

// Flannel reads its own MAC back by position, and counts on 0.0.0.0 and null.
func TestEncodeAsFlannel(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	got := k.encode(storetest.Dual("n7", 7), sourceCluster)
	want := both(keySubnets, "10.3.7.0/24,fc00:0:0:7::/64", keySource, "podCIDR")
	if !maps.Equal(got, want) {
		t.Errorf("encode = %v\nwant %v", got, want)
	}
	bare := storetest.Lease("n7", 7)
	bare.V4.Data, bare.V4.Uplink = "", netip.Addr{}
	if got := k.encode(bare, sourceCluster); got[k.data4] != "null" || got[k.uplink4] != "0.0.0.0" {
		t.Errorf("without data and uplink: %q, %q; want null, 0.0.0.0", got[k.data4], got[k.uplink4])
	}
	six := k.encode(storetest.V6("n7", 7), sourceCluster)
	for _, key := range []string{k.data4, k.uplink4} {
		if _, there := six[key]; there {
			t.Errorf("%s is there in an IPv6-only lease", key)
		}
	}
}

// A change that turns what is there into what is wanted touches nothing else.
func TestChange(t *testing.T) {
	t.Parallel()
	k := usualKeys(t)
	want := k.encode(storetest.Lease("n7", 7), sourceCluster)
	have := k.encode(storetest.Dual("n7", 7), sourceLease)
	have["node.alpha.kubernetes.io/ttl"], have[k.overwrite4] = "0", "203.0.113.7"
	got := k.change(have, want)
	subnets, source := "10.3.7.0/24", sourceCluster
	wantChange := map[string]*string{k.data6: nil, k.uplink6: nil, keySubnets: &subnets, keySource: &source}
	same := func(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	if !maps.EqualFunc(got, wantChange, same) {
		t.Errorf("change = %v; want %v", got, wantChange)
	}
	if got := k.change(want, want); len(got) != 0 {
		t.Errorf("change = %v; want none", got)
	}
	b, err := patch("u1", map[string]*string{k.data6: nil, keySubnets: &subnets}, map[string]*string{labelRecord: nil})
	const text = `{"metadata":{"uid":"u1","annotations":{"flannel.alpha.coreos.com/backend-v6-data":null,` +
		`"percale.io/subnets":"10.3.7.0/24"},"labels":{"percale.io/record":null}}}`
	if string(b) != text || err != nil {
		t.Errorf("patch = %s, %v\nwant %s", b, err, text)
	}
}

// FuzzDecode has Nodes say anything. What is read of it must be writable, and be
// read the same again.
func FuzzDecode(f *testing.F) {
	k := usualKeys(f)
	l := k.encode(storetest.Dual("n7", 7), sourceLease)
	f.Add("n7", l[k.manager], l[k.backend], l[k.data4], l[k.data6], l[k.uplink4], l[k.uplink6], l[keySubnets], "10.3.7.0/24", 0)
	f.Add("../n7", yes, "\x00", "{", "[1,2]", "0.0.0.0", "::1%eth0", ",", "x", 1<<30)
	f.Fuzz(func(t *testing.T, name, manager, backend, data4, data6, uplink4, uplink6, subnets, cidrs string, size int) {
		n := nodes.Node{Name: name, Whole: cidrs != "", PodCIDRs: strings.Split(cidrs, ","), Annotations: map[string]string{
			k.manager: manager, k.backend: backend, k.data4: data4, k.data6: data6, k.uplink4: uplink4, k.uplink6: uplink6,
		}}
		if subnets != "" {
			n.Annotations[keySubnets] = subnets
		}
		if size > 0 {
			n.Oversize = map[string]int{k.data6: size}
		}
		got, refused := k.decode(n)
		for _, r := range refused {
			if len(r.Reason) > 600 || len(r.Node) > 300 {
				t.Errorf("refusal of %d bytes; want it bounded", len(r.Reason))
			}
		}
		if got == (subnet.Lease{}) {
			return
		}
		n = nodes.Node{Name: got.Node, Annotations: k.encode(got, sourceLease)}
		if again, refused := k.decode(n); again != got || refused != nil {
			t.Errorf("read %+v\nwritten and read again %+v, refused %v", got, again, refused)
		}
	})
}
