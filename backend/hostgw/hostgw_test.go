// SPDX-License-Identifier: Apache-2.0

package hostgw

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/subnet"
)

func TestPeer(t *testing.T) {
	self := backend.Self{
		Node: "n1",
		Pools: subnet.Pools{V4: subnet.Pool{
			Network: netip.MustParsePrefix("10.42.0.0/16"), Len: 24,
			Min: netip.MustParseAddr("10.42.1.0"), Max: netip.MustParseAddr("10.42.255.0"),
		}},
		Uplink: network.Uplink{
			Name: "eth0", MTU: 1500, V4: netip.MustParseAddr("192.0.2.1"),
			OnLink: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		},
	}
	peer := subnet.Lease{Node: "n2", Backend: Name, V4: subnet.Endpoint{
		Subnet: netip.MustParsePrefix("10.42.2.0/24"), Uplink: netip.MustParseAddr("192.0.2.2"),
	}}
	got, err := Backend{}.Peer(self, peer)
	want := backend.Entries{Routes: []network.Route{{
		Dst: peer.V4.Subnet, Via: peer.V4.Uplink, Link: "eth0", Metric: 3, Protocol: network.Protocol,
	}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Peer = %+v, %v; want %+v", got, err, want)
	}
	if mtu := (Backend{}).PodMTU(self); mtu != 1500 {
		t.Errorf("PodMTU = %d; want the uplink's 1500", mtu)
	}

	far := peer
	far.V4.Uplink = netip.MustParseAddr("198.51.100.2")
	if got, err := (Backend{}).Peer(self, far); err == nil || !strings.Contains(err.Error(), "DirectRouting") || got.Routes != nil {
		t.Errorf("far peer = %+v, %v; want nothing, and the alternative named", got, err)
	}
	other := peer
	other.Backend = "vxlan"
	if _, err := (Backend{}).Peer(self, other); err == nil || !strings.Contains(err.Error(), `"vxlan"`) {
		t.Errorf("peer with vxlan: %v; want an error that names its backend", err)
	}
}
