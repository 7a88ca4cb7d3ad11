// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/local"
)

// The parts that problems are told of, where readiness depends on them.
const (
	partStore      = "store"
	partNetConf    = "net-conf"
	partUplink     = "uplink"
	partLease      = "lease"
	partKernel     = "kernel"
	partIPv6       = "ipv6"
	partForwarding = "forwarding"
	partFirewall   = "firewall"
	partPeers      = "peers"
	partEnv        = "subnet.env"
)

// report lets fn change the status, and then draws from it whether the agent is
// ready, and if not why. That reason is put where CNI plugins find it.
func (a *Agent) report(fn func(*status.Status)) {
	if a.ending.Load() {
		return
	}
	a.reporting.Lock() // so that the newest reason is the one that plugins find
	defer a.reporting.Unlock()
	var was, now status.Status
	a.board.Update(func(s *status.Status) {
		was = *s
		fn(s)
		s.Waiting = waiting(*s)
		s.Ready = s.Waiting == ""
		now = *s
	})
	if was.Waiting == now.Waiting {
		return
	}
	a.tellSystemd(now)
	a.cni.loop.Kick()
	a.voice.loop.Kick()
	if now.Ready {
		a.log.Info("ready", "peers", now.Peers.Programmed)
	} else if was.Ready {
		a.log.Warn("not ready", "waiting", now.Waiting)
	}
	if err := a.tellPlugins(now.Waiting); err != nil {
		a.log.Warn("tell CNI plugins why pods must wait", "err", err)
	}
}

func (a *Agent) tellPlugins(reason string) error {
	if reason == "" {
		return local.ClearWaiting(a.settings.RunDir)
	}
	return local.WriteWaiting(a.settings.RunDir, reason)
}

// waiting says what keeps the agent from being ready: the first problem of
// those that readiness depends on, or what has not happened yet; "" for nothing.
func waiting(s status.Status) string {
	for _, p := range s.Problems {
		if keepsWaiting(s, p.Part) {
			return p.Part + ": " + strings.ReplaceAll(p.Seen, "\n", "; ")
		}
	}
	switch {
	case s.Backend == "":
		if s.Store.Kind == status.Kube {
			return "reading the network configuration from its file"
		}
		return "reading the network configuration from " + s.Store.Kind
	case !s.Store.Synced && !s.Store.Cached:
		return "reading leases from " + s.Store.Kind
	case len(s.Subnets) == 0:
		return "leasing a subnet"
	case s.Kernel.Count == 0:
		return "programming the kernel"
	case !s.Firewall.InSync:
		return "writing firewall rules"
	case !slices.Equal(s.Told, s.Subnets):
		return "telling CNI plugins of the subnet"
	}
	return ""
}

// keepsWaiting reports whether a problem of the part means that packets do not
// get through. A store that went away once its leases were known means no such
// thing, nor does a server that cannot listen.
func keepsWaiting(s status.Status, part string) bool {
	switch part {
	case partStore:
		return !s.Store.Synced && !s.Store.Cached
	case partLease:
		return len(s.Subnets) == 0
	case partNetConf:
		return s.Backend == ""
	case partUplink, partKernel, partIPv6, partForwarding, partFirewall, partEnv:
		return true
	}
	return false
}

// reportRound publishes what the kernel loop did and found. That the kernel
// refused single peers' entries is a problem, but keeps nobody else waiting.
func (a *Agent) reportRound(v view, r result) {
	peers := peersOf(r)
	refused := slices.Concat(v.snapshot.Refused, r.refused, r.plan.Refused)
	a.logRefused(refused)
	a.board.SetPeers(peers)
	own, others := r.err, error(nil)
	if ownDevicesStand(r.err) {
		own, others = nil, r.err
	}
	forwarding, settings, others := a.partSysctls(others)
	pods := a.strandedFault(a.bridge.Load().Ports)
	a.report(func(s *status.Status) {
		s.Uplink = uplinkOf(v)
		s.Devices = devicesOf(r)
		s.Told, s.PodMTU = a.seen.told, a.seen.podMTU
		s.Sysctls = sysctlsOf(r)
		s.Refused, s.Notes = refused, slices.Concat(r.notes, a.halfNotes(v), shadowNotes(r), a.notes(r.have), a.cniNotes())
		s.Peers = countOf(peers)
		s.Kernel.Count++
		s.Kernel.Last, s.Kernel.Took = r.began, time.Since(r.began)
		s.Kernel.Writes = a.kernel.Writes()
		r.tally.report(s, &s.Kernel)
		s.Fault(partKernel, own, r.began)
		s.Fault(partForwarding, forwarding, r.began)
		s.Fault("sysctl", settings, r.began)
		s.Fault(partPeers, others, r.began)
		s.Fault("bridge", r.bridgeErr, r.began)
		s.Fault(partPods, pods, r.began)
		s.Fault(partEnv, r.envErr, r.began)
		s.Fault("leftovers", r.leftErr, r.began)
		s.Fault(partIPv6, a.ipv6Fault(r), r.began)
	})
}

// sysctlsOf returns the settings that we keep, with the values that they have.
func sysctlsOf(r result) []string {
	values := r.have.Sysctls
	if r.err == nil {
		values = feasible(r.plan.State, r.have).Sysctls
	}
	var all []string
	for _, path := range slices.Sorted(maps.Keys(r.plan.State.Sysctls)) {
		if s, ok := values[path]; ok {
			all = append(all, path+"="+s.Value)
		}
	}
	return all
}

func (a *Agent) ipv6Fault(r result) error {
	if r.err == nil && r.self.Pools.V6.Enabled() && !hasIPv6(r.have) {
		return errNoIPv6
	}
	return nil
}

// logRefused logs each refusal once, and again only when its reason changes.
// Of many that come together, which have one cause, it logs the first few.
func (a *Agent) logRefused(refused []subnet.Refusal) {
	const most = 10
	now, fresh := make(map[subnet.Refusal]bool, len(refused)), 0
	for _, r := range refused {
		if now[r] = true; a.seen.refused[r] {
			continue
		}
		if fresh++; fresh <= most {
			a.log.Warn("lease refused", "lease", r.Lease, "node", r.Node, "reason", r.Reason)
		}
	}
	if fresh > most {
		a.log.Warn("more leases refused; percale status lists all", "count", fresh-most)
	}
	a.seen.refused = now
}

func uplinkOf(v view) status.Uplink {
	u := status.Uplink{Name: v.uplink.Name, MTU: v.uplink.MTU, Why: v.uplink.Why}
	for _, a := range []netip.Addr{v.uplink.V4, v.uplink.V6} {
		if a.IsValid() {
			u.Addresses = append(u.Addresses, a)
		}
	}
	for e := range v.lease.Endpoints() {
		u.Published = append(u.Published, e.Uplink)
	}
	return u
}

// devicesOf returns our devices as the kernel has them.
func devicesOf(r result) []status.Device {
	var devices []status.Device
	for _, name := range slices.Sorted(maps.Keys(r.plan.State.Links)) {
		if l, ok := r.have.Links[name]; ok {
			devices = append(devices, status.Device{
				Name: name, VNI: l.VXLAN.VNI, Port: l.VXLAN.Port, MAC: l.MAC.String(), MTU: l.MTU,
			})
		}
	}
	return devices
}
