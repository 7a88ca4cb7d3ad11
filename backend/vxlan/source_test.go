// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

func TestSourceOfNAT(t *testing.T) {
	t.Parallel()
	local, public := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("203.0.113.5")
	self := backend.Self{
		Node:   "n1",
		Pools:  subnet.Pools{V4: subnet.Pool{Network: netip.MustParsePrefix("10.244.0.0/16"), Len: 24}},
		Uplink: network.Uplink{Name: "eth0", V4: local},
	}
	b := Backend{VNI: 1, Port: 8472}
	for _, tt := range []struct {
		published netip.Addr
		want      []netip.Addr
	}{
		{local, []netip.Addr{local}},
		{public, []netip.Addr{public, local}},
	} {
		self.Lease.V4 = subnet.Endpoint{Subnet: netip.MustParsePrefix("10.244.1.0/24"), Uplink: tt.published}
		data, _ := b.Publish(self)
		v, err := ParseVTEP(data)
		if err != nil || v.VNI != 1 || v.MAC != DeriveMAC("n1", 1, false) {
			t.Errorf("published %s: VTEP %v, %v; want ours", data, v, err)
		}
		self.Lease.V4.Data = data
		if again, _ := b.Publish(self); again != data {
			t.Errorf("published %s, and then %s", data, again)
		}
		if got := Sources(self.Lease.V4); !slices.Equal(got, tt.want) {
			t.Errorf("Sources of %s = %v; want %v", data, got, tt.want)
		}
	}
}

func TestBadSources(t *testing.T) {
	t.Parallel()
	uplink := netip.MustParseAddr("192.0.2.2")
	for _, source := range []string{
		`""`, `"x"`, `7`, `null`, `"2001:db8::1"`, `"::ffff:10.0.0.1"`, `"224.0.0.1"`, `"0.0.0.0"`, `"127.0.0.1"`, `"192.0.2.2"`, `["10.0.0.1"]`,
	} {
		e := subnet.Endpoint{Uplink: uplink, Data: `{"VNI":1,"VtepMAC":"02:00:00:00:00:01","Source":` + source + `}`}
		if got := Sources(e); !slices.Equal(got, []netip.Addr{uplink}) {
			t.Errorf("Sources with source %s = %v; want the uplink alone", source, got)
		}
	}
}

func FuzzSources(f *testing.F) {
	f.Add(`{"VNI":1,"VtepMAC":"02:00:00:00:00:01","Source":"10.0.0.1"}`)
	f.Fuzz(func(t *testing.T, data string) {
		uplink := netip.MustParseAddr("192.0.2.2")
		for _, a := range Sources(subnet.Endpoint{Uplink: uplink, Data: data}) {
			if !a.Is4() || a.IsMulticast() || a.IsUnspecified() {
				t.Errorf("Sources of %q has %v", data, a)
			}
		}
	})
}
