// SPDX-License-Identifier: Apache-2.0

package owned

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/percale-net/percale/network"
)

var (
	pods4   = netip.MustParsePrefix("10.42.0.0/16")
	pods6   = netip.MustParsePrefix("fd42::/48")
	former  = netip.MustParsePrefix("10.99.0.0/16")
	uplink4 = netip.MustParseAddr("192.0.2.1")
	uplink6 = netip.MustParseAddr("2001:db8::1")
)

func vxlan(name string, vni, port int, local netip.Addr) network.Link {
	return network.Link{Name: name, Kind: network.KindVXLAN, VXLAN: network.VXLAN{VNI: vni, Port: port, Local: local}}
}

func state(links ...network.Link) network.State {
	s := network.NewState()
	for _, l := range links {
		s.Links[l.Name] = l
	}
	return s
}

func TestOfAPlan(t *testing.T) {
	plan := state(vxlan("flannel.1", 1, 8472, uplink4), vxlan("flannel-v6.1", 1, 8472, uplink6),
		network.Link{Name: "cni0", Kind: network.KindBridge})
	want := Record{
		Devices:  []Device{{"flannel-v6.1", 1, 8472, true}, {"flannel.1", 1, 8472, false}},
		Networks: []netip.Prefix{pods4, pods6},
	}
	if got := Of(plan, []netip.Prefix{pods4, pods6}); !reflect.DeepEqual(got, want) {
		t.Errorf("Of a plan = %v; want %v", got, want)
	}
}

func TestLeftovers(t *testing.T) {
	old := Of(state(vxlan("flannel.1", 1, 8472, uplink4), vxlan("flannel-v6.1", 1, 8472, uplink6)), []netip.Prefix{former, pods6})
	now := Of(state(vxlan("flannel.1", 1, 8472, uplink4)), []netip.Prefix{pods4})
	both := old.With(now)
	if left := both.Without(old).Without(now); !left.Empty() {
		t.Errorf("a union has besides its parts %v; want nothing", left)
	}
	if !both.Equal(now.With(old)) || both.Equal(now) || both.Equal(old) {
		t.Errorf("unions %v and %v; want them equal, and more than each part", both, now.With(old))
	}
	want := Record{[]Device{{"flannel-v6.1", 1, 8472, true}}, []netip.Prefix{former, pods6}}
	if left := both.Without(now); !left.Equal(want) {
		t.Errorf("leftovers = %v; want %v", left, want)
	}
	if left := now.Without(both); !left.Empty() {
		t.Errorf("leftovers = %v; want none, since all is planned", left)
	}
}

func TestDeviceIsOursWhileItIsWhatWasRecorded(t *testing.T) {
	d := Device{"flannel.1", 1, 8472, false}
	r := Record{Devices: []Device{d}}
	for _, tt := range []struct {
		name string
		link network.Link
		ours bool
	}{
		{"as it was", vxlan("flannel.1", 1, 8472, uplink4), true},
		{"gone", vxlan("other", 1, 8472, uplink4), false},
		{"another VNI", vxlan("flannel.1", 2, 8472, uplink4), false},
		{"another port", vxlan("flannel.1", 1, 4789, uplink4), false},
		{"another family", vxlan("flannel.1", 1, 8472, uplink6), false},
		{"another kind", network.Link{Name: "flannel.1", Kind: network.KindBridge}, false},
		{"a physical device", network.Link{Name: "flannel.1"}, false},
	} {
		if got := r.In(state(tt.link).Links); len(got) > 0 != tt.ours {
			t.Errorf("%s: ours = %v; want %t", tt.name, got, tt.ours)
		}
	}
}

func TestRecordIsBounded(t *testing.T) {
	var r Record
	for vni := 1; vni <= 3*most; vni++ {
		r = r.With(Record{Devices: []Device{{fmt.Sprintf("flannel.%d", vni), vni, 8472, false}}})
	}
	if n := len(r.Devices); n != most || r.Devices[n-1].VNI != 3*most {
		t.Errorf("%d devices, the last %v; want the newest %d", n, r.Devices[n-1], most)
	}
	b, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse(b); err != nil || !got.Equal(r) {
		t.Errorf("Parse of a full record = %v, %v; want %v", got, err, r)
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat(`{"name":"flannel.1","vni":1,"port":8472},`, most) + `{"name":"flannel.1","vni":1,"port":8472}`
	for _, tt := range []struct{ text, want string }{
		{"", "unexpected end"},
		{"{", "unexpected end"},
		{`{"version":1}{}`, "after top-level"},
		{`{"devices":[],"networks":[]}`, "version 0"},
		{`{"version":2}`, "version 2"},
		{`{"version":1,"devices":[{"name":"flannel.1","vni":0,"port":8472}]}`, "VNI 0"},
		{`{"version":1,"devices":[{"name":"flannel.1","vni":16777216,"port":8472}]}`, "VNI 16777216"},
		{`{"version":1,"devices":[{"name":"flannel.1","vni":1,"port":65536}]}`, "port 65536"},
		{`{"version":1,"devices":[{"name":"","vni":1,"port":1}]}`, "no name"},
		{`{"version":1,"devices":[{"name":"../../../etc","vni":1,"port":1}]}`, "no name"},
		{`{"version":1,"devices":[{"name":"sixteen.byte.nam","vni":1,"port":1}]}`, "no name"},
		{`{"version":1,"networks":["0.0.0.0/0"]}`, "want a prefix"},
		{`{"version":1,"networks":["10.42.0.1/16"]}`, "want a prefix"},
		{`{"version":1,"networks":["::ffff:10.42.0.0/112"]}`, "want a prefix"},
		{`{"version":1,"networks":[""]}`, "want a prefix"},
		{`{"version":1,"devices":[` + long + `]}`, "at most 64"},
	} {
		if got, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) || !got.Empty() {
			t.Errorf("Parse(%.80s) = %v, %v; want an error with %q", tt.text, got, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	r := Of(state(vxlan("flannel.1", 1, 8472, uplink4)), []netip.Prefix{pods4, pods6})
	b, err := r.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1,"devices":[{"name":"a","vni":1,"port":1,"ipv6":true}],"networks":["fd42::/48"]}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		first, err := r.Bytes()
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		again, err := Parse(first)
		if err != nil || !again.Equal(r) {
			t.Fatalf("Parse(Bytes(%v)) = %v, %v", r, again, err)
		}
		if second, err := again.Bytes(); err != nil || !bytes.Equal(first, second) {
			t.Errorf("written %s, read and written again %s, %v", first, second, err)
		}
	})
}
