// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/percale-net/percale/internal/netns"
)

// load makes a client of go-cni as the CRI plugin of containerd makes its own:
// with the loopback network and the first one of the directory.
func (n node) load(t *testing.T) gocni.CNI {
	t.Helper()
	c, err := gocni.New(gocni.WithMinNetworkCount(2), gocni.WithPluginConfDir(n.confDir()), gocni.WithPluginMaxConfNum(1),
		gocni.WithPluginDir([]string{n.bin()}))
	if err == nil {
		err = c.Load(gocni.WithLoNetwork, gocni.WithDefaultConf)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ofPod returns what the CRI plugin of containerd passes for each pod.
func ofPod(id string, more ...gocni.NamespaceOpts) []gocni.NamespaceOpts {
	return append([]gocni.NamespaceOpts{
		gocni.WithLabels(map[string]string{
			"K8S_POD_NAMESPACE": "ns1", "K8S_POD_NAME": "web", "K8S_POD_INFRA_CONTAINER_ID": id, "K8S_POD_UID": "uid-1", "IgnoreUnknown": "1",
		}),
		gocni.WithCapability("io.kubernetes.cri.pod-annotations", map[string]string{"a": "b"}),
		gocni.WithCapabilityDNS(gocni.DNS{Servers: []string{"10.43.0.10"}, Searches: []string{"cluster.local"}}),
		gocni.WithCapabilityCgroupPath("/kubepods/pod1"),
	}, more...)
}

func TestGoCNI(t *testing.T) {
	for version, checks := range map[string]bool{"0.3.1": false, "0.4.0": true, "1.0.0": true} { // the loopback plugin's
		t.Run(version, func(t *testing.T) {
			onNode(t, func(n node) {
				n.write(t, n.subnetFile, dualStack)
				n.list(t, version, portmap())
				c, pod := n.load(t), netns.Temp(t)
				opts := ofPod("abc",
					gocni.WithCapabilityPortMap([]gocni.PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}),
					gocni.WithCapability("ips", []string{"10.42.7.77/24"}),
					gocni.WithCapability("mac", "02:00:00:00:00:09"),
					gocni.WithCapability("aliases", map[string][]string{"pods": {"web"}}),
					gocni.WithCapabilityBandWidth(gocni.BandWidth{IngressRate: 8e6, IngressBurst: 8e6}))
				r, err := c.Setup(t.Context(), "abc", pod.Path(), opts...)
				if err != nil {
					t.Fatal(err)
				}
				checkResult(t, r, pod)
				if err := answers(pod, outside(t), "10.42.7.77:80", nodeAddress+":8080"); err != nil {
					t.Errorf("host port 8080: %v", err)
				}
				// Alone: go-cni's loopback network is of version 0.3.1, which has no CHECK, and that of portmap
				// looks for IPv4's rules among IPv6's.
				alone, err := gocni.New(gocni.WithPluginDir([]string{n.bin()}), gocni.WithConfListFile(n.list(t, version)))
				if err != nil {
					t.Fatal(err)
				}
				if err := alone.Check(t.Context(), "abc", pod.Path(), opts...); (err == nil) != checks {
					t.Errorf("Check = %v; want it done: %t", err, checks)
				}
				if err := errors.Join(c.Remove(t.Context(), "abc", pod.Path(), opts...), c.Remove(t.Context(), "abc", "", opts...)); err != nil {
					t.Errorf("Remove, with the namespace and again without: %v", err)
				}
				n.wantNothing(t)
			})
		})
	}
}

// checkResult looks at what the runtime makes of the result: the first address
// of eth0 becomes the pod's.
func checkResult(t *testing.T, r *gocni.Result, pod netns.NS) {
	t.Helper()
	eth0 := r.Interfaces["eth0"]
	if eth0 == nil || eth0.Sandbox != pod.Path() || eth0.Mac != "02:00:00:00:00:09" || len(eth0.IPConfigs) != 2 {
		t.Fatalf("eth0 = %+v; want it in the sandbox, with the MAC asked for and two addresses", eth0)
	}
	for i, want := range []string{"10.42.7.77 10.42.7.1", "fd00:0:0:7:: fd00:0:0:7::1"} {
		ip, _, _ := strings.Cut(want, " ")
		got := fmt.Sprint(eth0.IPConfigs[i].IP, " ", eth0.IPConfigs[i].Gateway)
		if !strings.HasPrefix(got, ip) || !strings.HasSuffix(got, strings.Fields(want)[1]) {
			t.Errorf("address %d and its gateway = %s; want %s", i, got, want)
		}
	}
	if cni0 := r.Interfaces["cni0"]; cni0 == nil || cni0.Sandbox != "" || len(r.Interfaces) != 4 {
		t.Errorf("interfaces = %v; want lo, eth0, the bridge cni0 and a port", r.Interfaces)
	}
	var routes []string
	for _, route := range r.Routes {
		routes = append(routes, fmt.Sprint(route.Dst.String(), " via ", route.GW))
	}
	if got := strings.Join(routes, ", "); !strings.Contains(got, "0.0.0.0/0 via 10.42.7.1") || !strings.Contains(got, "::/0 via fd00:0:0:7::1") {
		t.Errorf("routes = %s; want both default routes", got)
	}
	var dns types.DNS
	for _, d := range r.DNS {
		dns.Nameservers = append(dns.Nameservers, d.Nameservers...)
	}
	if len(dns.Nameservers) != 1 || dns.Nameservers[0] != "10.43.0.10" {
		t.Errorf("DNS = %+v; want that of the configuration", r.DNS)
	}
}

// answers tells why a server in a pod does not answer a host outside, at an
// address.
func answers(pod, host netns.NS, listen, dial string) error {
	var l net.Listener
	err := pod.Do(func() (err error) {
		l, err = net.Listen("tcp", listen)
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	return host.Do(func() error {
		to, err := net.ResolveTCPAddr("tcp", dial)
		if err != nil {
			return err
		}
		c, err := net.DialTCP("tcp", nil, to) // with one address, no goroutine of another namespace
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Status is what containerd tells the kubelet as NetworkReady. It must not be
// true before pods can start, and say why.
func TestGoCNIStatus(t *testing.T) {
	onNode(t, func(n node) {
		n.list(t, "1.1.0")
		c := n.load(t)
		err := c.Status()
		var failed *types.Error
		if !errors.As(err, &failed) || failed.Code != types.ErrPluginNotAvailable || !strings.Contains(failed.Msg, "percaled has not written "+n.subnetFile) {
			t.Errorf("Status without subnet.env = %v; want code 50 and who has not written it", err)
		}
		n.write(t, n.subnetFile, strings.Replace(dualStack, "10.42.7.1/24", "10.42.7.1/30", 1))
		if err := c.Status(); err != nil {
			t.Fatalf("Status with subnet.env = %v", err)
		}
		pod := netns.Temp(t)
		if _, err := c.Setup(t.Context(), "abc", pod.Path(), ofPod("abc")...); err != nil {
			t.Fatal(err)
		}
		if err := c.Status(); !errors.As(err, &failed) || !strings.Contains(failed.Msg, "subnet 10.42.7.0/30 is full") {
			t.Errorf("Status of a full subnet = %v; want it said", err)
		}
		if err := os.Remove(n.subnetFile); err != nil {
			t.Fatal(err)
		}
		if err := c.Remove(t.Context(), "abc", pod.Path(), ofPod("abc")...); err != nil {
			t.Errorf("Remove without subnet.env = %v", err)
		}
		n.wantNothing(t)
	})
}

// Pods that start at once, and interfaces of one pod one after the other.
func TestGoCNIAtOnce(t *testing.T) {
	onNode(t, func(n node) {
		n.write(t, n.subnetFile, dualStack)
		n.list(t, "1.0.0")
		c := n.load(t)
		const pods = 16
		results, failed := make([]*gocni.Result, pods), make(chan error, pods)
		spaces := make([]netns.NS, pods)
		for i := range pods {
			spaces[i] = netns.Temp(t)
			go func() {
				id := fmt.Sprint("c", i)
				var err error
				results[i], err = c.SetupSerially(t.Context(), id, spaces[i].Path(), ofPod(id)...)
				failed <- err
			}()
		}
		var err error
		for range pods {
			err = errors.Join(err, <-failed)
		}
		if err != nil {
			t.Fatal(err)
		}
		distinct := map[netip.Addr]bool{}
		for _, r := range results {
			for _, ip := range r.Interfaces["eth0"].IPConfigs {
				a, _ := netip.AddrFromSlice(ip.IP)
				distinct[a.Unmap()] = true
			}
		}
		if len(distinct) != 2*pods {
			t.Errorf("%d pods have the addresses %v; want two each", pods, distinct)
		}
		for i := range pods {
			id := fmt.Sprint("c", i)
			if err := c.Remove(t.Context(), id, spaces[i].Path(), ofPod(id)...); err != nil {
				t.Error(err)
			}
		}
		n.wantNothing(t)
	})
}
