// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/percale-net/percale/backend"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
)

// Settings that are read, and changed only where addForwarding says so.
const (
	forward4  = "net/ipv4/ip_forward"
	forward6  = "net/ipv6/conf/all/forwarding"
	bridgeNF4 = "net/bridge/bridge-nf-call-iptables"
	bridgeNF6 = "net/bridge/bridge-nf-call-ip6tables"
)

var errNoIPv6 = errors.New("this kernel has IPv6 switched off, and net-conf wants it: " +
	"remove ipv6.disable=1 from the kernel's command line, or set \"EnableIPv6\": false")

// addForwarding adds what turns a host into a router of its pods' packets.
func (a *Agent) addForwarding(s network.State, up network.Uplink) {
	if a.conf.Pools.V4.Enabled() {
		s.Sysctls[forward4] = network.Sysctl{Path: forward4, Value: "1"}
	}
	if a.conf.Pools.V6.Enabled() {
		s.Sysctls[forward6] = network.Sysctl{Path: forward6, Value: "1"}
		ra := network.Sysctl{Path: acceptRA(up.Name), Value: "2"}
		s.Sysctls[ra.Path] = ra
	}
}

// acceptRA is the setting by which a link takes router advertisements: 0 never,
// 1 unless the host forwards, 2 always.
func acceptRA(link string) string { return "net/ipv6/conf/" + link + "/accept_ra" }

// lastMetric is that of a route that any other to the same destination goes
// before: the kernel gives a bridge's own one 256 in IPv6.
const lastMetric = 1 << 31

// addBlackholes drops packets to pods of ours that do not exist, if that was
// asked for. A route to a pod, or of the bridge, is more specific or has a
// better metric.
func (a *Agent) addBlackholes(s network.State, self backend.Self) {
	if !a.settings.IPBlackholeRoute {
		return
	}
	for f := range self.Families() {
		r := network.Route{
			Dst: f.Own.Subnet, Blackhole: true,
			Metric: lastMetric, Protocol: network.Protocol,
		}
		s.Routes[r.Key()] = r
	}
}

// scopeOf says what to read to compare with want: all that is ours, and the
// settings that the status reports on.
func (a *Agent) scopeOf(want network.State) kernel.Scope {
	scope := kernel.Scope{
		Networks: a.networks(),
		Sysctls:  []string{forward4, forward6, bridgeNF4, bridgeNF6},
	}
	for name := range want.Links {
		scope.Devices = append(scope.Devices, name)
	}
	for path := range want.Sysctls {
		if path != forward4 && path != forward6 {
			scope.Sysctls = append(scope.Sysctls, path)
		}
	}
	return scope
}

// feasible drops from the wish the IPv6 settings where the kernel has none, and
// the uplink's accept_ra unless we are about to take away its routes: a kernel
// that begins to forward drops what it learned from router advertisements, and
// with them perhaps its default route, where accept_ra is 1.
func feasible(want, have network.State) network.State {
	kept := make(map[string]network.Sysctl)
	for path, s := range want.Sysctls {
		ours := s.Value == "2" && strings.HasSuffix(path, "/accept_ra")
		saves := have.Sysctls[forward6].Value == "0" && have.Sysctls[path].Value == "1"
		if (!strings.HasPrefix(path, "net/ipv6/") || hasIPv6(have)) && (!ours || saves) {
			kept[path] = s
		}
	}
	want.Sysctls = kept
	return want
}

// partSysctls parts an error of applying a plan into what keeps this host from
// being a router, other settings, and the rest.
func (a *Agent) partSysctls(err error) (forwarding, settings, others error) {
	needed, more := partEntries(err, func(entry any) bool {
		s, ok := entry.(network.Sysctl)
		return ok && (s.Path == forward4 || s.Path == forward6)
	})
	failed, rest := partEntries(errors.Join(more...), func(entry any) bool {
		_, ok := entry.(network.Sysctl)
		return ok
	})
	return a.sysctlFault(needed, "Packets of pods go nowhere until then"),
		a.sysctlFault(failed, "Pods work all the same, but router advertisements may change this node's IPv6 routes"), errors.Join(rest...)
}

// sysctlFault says which settings could not be written, what comes of that and
// what helps; nil for none.
func (a *Agent) sysctlFault(failed []error, harm string) error {
	err := errors.Join(failed...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w. %s. In a container, mount the host's /proc/sys/net, writable, at DIR/net and give --sysctl-dir=DIR; "+
			"it is %s now", err, harm, a.settings.SysctlDir)
	}
	return fmt.Errorf("%w. %s", err, harm)
}

func hasIPv6(have network.State) bool {
	_, ok := have.Sysctls[forward6]
	return ok
}

// notes says what the operator may want to know of the settings, and of rules.
func (a *Agent) notes(have network.State) []string {
	var notes []string
	if a.conf.Pools.V4.Enabled() && have.Sysctls[bridgeNF4].Value != "1" ||
		a.conf.Pools.V6.Enabled() && have.Sysctls[bridgeNF6].Value != "1" {
		notes = append(notes, "br_netfilter does not show bridged packets to iptables. Percale does not need it; kube-proxy in "+
			"iptables mode does, for services between pods of one node: modprobe br_netfilter && "+
			"sysctl -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1")
	}
	if note := a.rulesNote.Load(); note != nil && *note != "" {
		notes = append(notes, *note)
	}
	return append(append(notes, a.guards.notes()...), a.addressNotes()...)
}
