// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/network"
)

func TestEntryErrorText(t *testing.T) {
	t.Parallel()
	ip, prefix := netip.MustParseAddr("10.1.2.0"), netip.MustParsePrefix("10.1.2.0/24")
	for _, test := range []struct {
		entry any
		want  string
	}{
		{network.Route{Dst: prefix, Via: ip, Link: "flannel.1"}, "set route 10.1.2.0/24 via 10.1.2.0 dev flannel.1: network is unreachable"},
		{network.Route{Dst: prefix, Link: "eth0", Metric: 5}, "set route 10.1.2.0/24 dev eth0 metric 5: network is unreachable"},
		{network.Neighbor{Link: "flannel.1", IP: ip, MAC: mac(1)}, "set neighbor 10.1.2.0 lladdr 0e:00:00:00:00:01 dev flannel.1: network is unreachable"},
		{network.Forward{Link: "flannel.1", MAC: mac(1), Dst: ip}, "set forward 0e:00:00:00:00:01 dst 10.1.2.0 dev flannel.1: network is unreachable"},
		{network.Forward{Link: "flannel.1", MAC: mac(1)}, "set forward 0e:00:00:00:00:01 dev flannel.1: network is unreachable"},
		{network.Address{Link: "cni0", Prefix: prefix}, "set address 10.1.2.0/24 dev cni0: network is unreachable"},
		{network.Sysctl{Path: "net/ipv4/ip_forward", Value: "1"}, "set sysctl net/ipv4/ip_forward = 1: network is unreachable"},
		{network.Link{Name: "cni0"}, "set link cni0: network is unreachable"},
	} {
		if got := (&EntryError{"set", test.entry, unix.ENETUNREACH}).Error(); got != test.want {
			t.Errorf("error = %q; want %q", got, test.want)
		}
	}
}
