// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/percale-net/percale/internal/lab"
)

// The oracle says what a node of a dual-stack lab must hold, by what stands in
// etcd, and compares it with what ip and bridge show. It shares no code with
// the agent: the wire format, the addresses by convention and the form of each
// entry are written down here once more.

// An end is one family of a lease.
type end struct {
	subnet netip.Prefix
	uplink string
	mac    string
}

// A published is a lease as etcd has it, IPv4 and IPv6.
type published struct {
	node string
	ends [2]end
}

// tunnels are the overlay devices, networks what pods' subnets lie in.
var (
	tunnels  = [2]string{"flannel.1", "flannel-v6.1"}
	networks = [2]netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")}
)

// readPublished reads all leases from etcd.
func readPublished(ctx context.Context, l *lab.Lab) ([]published, error) {
	var all []published
	err := withEtcd(ctx, l, func(ctx context.Context, c *clientv3.Client) error {
		kvs, err := leases(ctx, c, l)
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			p, err := parsePublished(string(kv.Key), kv.Value)
			if err != nil {
				return fmt.Errorf("lease %s: %w", kv.Key, err)
			}
			all = append(all, p)
		}
		return nil
	})
	return all, err
}

func parsePublished(key string, value []byte) (published, error) {
	type vtep struct{ VtepMAC string }
	var v struct {
		Node, PublicIP, PublicIPv6 string
		BackendData, BackendV6Data vtep
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return published{}, err
	}
	p := published{node: v.Node}
	p.ends[0].uplink, p.ends[0].mac = v.PublicIP, v.BackendData.VtepMAC
	p.ends[1].uplink, p.ends[1].mac = v.PublicIPv6, v.BackendV6Data.VtepMAC
	subnets := strings.Split(key[strings.LastIndex(key, "/")+1:], "&")
	if len(subnets) != 2 {
		return published{}, errors.New("want two subnets")
	}
	for i, text := range subnets {
		at := strings.LastIndex(text, "-")
		var err error
		if p.ends[i].subnet, err = netip.ParsePrefix(text[:at] + "/" + text[at+1:]); err != nil {
			return published{}, err
		}
	}
	return p, nil
}

// index counts the subnets of a network, from 1.
func index(network, subnet netip.Prefix) int64 {
	number := func(p netip.Prefix) *big.Int { return new(big.Int).SetBytes(p.Addr().AsSlice()) }
	n := new(big.Int).Sub(number(subnet), number(network))
	n.Rsh(n, uint(subnet.Addr().BitLen()-subnet.Bits()))
	return n.Int64() + 1
}

// wanted returns what a node must hold of the overlay, by all leases.
func wanted(n *lab.Node, all []published) state {
	var s state
	for i, device := range tunnels {
		for _, p := range all {
			e := p.ends[i]
			vtep := e.subnet.Addr()
			if p.node == n.Name() {
				host := netip.PrefixFrom(vtep, vtep.BitLen()).String()
				mtu := []int{1450, 1430}[i]
				s.add("device", fmt.Sprintf("%s up mtu %d mac %s vni 1 local %s dev eth0 port 8472 nolearning",
					device, mtu, e.mac, n.Uplink()[i]))
				s.add("address", device+" "+host)
				continue
			}
			s.add("route", fmt.Sprintf("%s via %s dev %s proto 112 metric %d onlink",
				e.subnet, vtep, device, index(networks[i], e.subnet)))
			s.add("neighbor", fmt.Sprintf("%s dev %s lladdr %s PERMANENT", vtep, device, e.mac))
			s.add("fdb", fmt.Sprintf("%s dev %s dst %s self permanent", e.mac, device, e.uplink))
		}
	}
	s.add("sysctl", "forwarding 1 1")
	for _, p := range all {
		if p.node == n.Name() {
			s.add("subnet.env", fmt.Sprintf("FLANNEL_NETWORK=%s\nFLANNEL_SUBNET=%s\nFLANNEL_IPV6_NETWORK=%s\nFLANNEL_IPV6_SUBNET=%s\n"+
				"FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n", networks[0], gateway(p.ends[0]), networks[1], gateway(p.ends[1])))
		}
	}
	slices.Sort(s)
	return s
}

func gateway(e end) netip.Prefix { return netip.PrefixFrom(e.subnet.Addr().Next(), e.subnet.Bits()) }

// vxlanLine takes the properties that matter from what ip -o -d link shows.
var vxlanLine = regexp.MustCompile(`^\d+: (\S+): <\S*,(UP|LOWER_UP)\S*> mtu (\d+) .*link/ether (\S+) .* vxlan id (\d+) local (\S+) dev (\S+) .*dstport (\d+) (nolearning|.).*$`)

// held returns all that a node holds of what wanted lists, whoever made it.
func held(t *testing.T, n *lab.Node) state {
	t.Helper()
	var s state
	ns := n.NS()
	for line := range strings.Lines(batch(t, ns, "-o -d", "link show type vxlan")) {
		s.add("device", vxlanLine.ReplaceAllString(strings.TrimSpace(line), "$1 up mtu $3 mac $4 vni $5 local $6 dev $7 port $8 $9"))
	}
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(run(t, ns, "ip "+family+" -o address show scope global")) {
			if f := strings.Fields(line); slices.Contains(tunnels[:], f[1]) {
				a := netip.MustParsePrefix(f[3])
				s.add("address", f[1]+" "+a.String())
			}
		}
		for line := range strings.Lines(run(t, ns, "ip "+family+" route show table all")) {
			if strings.Contains(line, " proto 112 ") || onTunnel(line) && !strings.Contains(line, " proto kernel ") {
				s.add("route", strings.TrimSuffix(strings.TrimSpace(line), " pref medium"))
			}
		}
		for line := range strings.Lines(run(t, ns, "ip "+family+" neigh show nud permanent")) {
			s.add("neighbor", line)
		}
	}
	for line := range strings.Lines(run(t, ns, "bridge fdb show")) {
		if onTunnel(line) {
			s.add("fdb", line)
		}
	}
	var v4, v6 []byte
	err := ns.Do(func() (err error) {
		if v4, err = os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err == nil {
			v6, err = os.ReadFile("/proc/sys/net/ipv6/conf/all/forwarding")
		}
		return err
	})
	must(t, err)
	s.add("sysctl", fmt.Sprintf("forwarding %s %s", strings.TrimSpace(string(v4)), strings.TrimSpace(string(v6))))
	env, _ := os.ReadFile(n.Agent(0).SubnetFile()) // absent: what it says is missing
	s.add("subnet.env", string(env))
	slices.Sort(s)
	return s
}

func onTunnel(line string) bool {
	return strings.Contains(line, " dev "+tunnels[0]+" ") || strings.Contains(line, " dev "+tunnels[1]+" ")
}

// agrees reports as an error what a node holds other than it must.
func agrees(t *testing.T, n *lab.Node, all []published) error {
	t.Helper()
	if d := diff(wanted(n, all), held(t, n)); d != "" {
		return fmt.Errorf("%s lacks (-) or has too much (+):\n%.3000s", n.Name(), d)
	}
	return nil
}

// TestOracle wants it to read a lease as etcd has it.
func TestOracle(t *testing.T) {
	t.Parallel()
	const key = "/coreos.com/network/subnets/10.244.90.0-24&fd00:10:244:5a::-64"
	p, err := parsePublished(key, []byte(`{"PublicIP":"192.168.77.11","PublicIPv6":"fd77::b","BackendType":"vxlan",`+
		`"BackendData":{"VNI":1,"VtepMAC":"b2:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"b2:00:00:00:00:02"},"Node":"n1"}`))
	want := published{"n1", [2]end{
		{netip.MustParsePrefix("10.244.90.0/24"), "192.168.77.11", "b2:00:00:00:00:01"},
		{netip.MustParsePrefix("fd00:10:244:5a::/64"), "fd77::b", "b2:00:00:00:00:02"},
	}}
	if err != nil || p != want {
		t.Errorf("parsePublished = %+v, %v; want %+v", p, err, want)
	}
	for i, e := range p.ends {
		if got := index(networks[i], e.subnet); got != 91 {
			t.Errorf("index of %s = %d; want 91", e.subnet, got)
		}
	}
}
