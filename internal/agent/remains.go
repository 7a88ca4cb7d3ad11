// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/owned"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/etcd"
	"github.com/percale-net/percale/subnet/kube"
	"github.com/percale-net/percale/subnet/local"
)

// Remains are what the files of an agent tell of what it made.
type remains struct {
	record   owned.Record
	lease    subnet.Lease
	envOurs  bool           // subnet.env is by us
	networks []netip.Prefix // the pod networks, and our subnets in case these are not known
	vteps    []netip.Prefix // addresses that our overlay devices hold
	gateways []netip.Prefix // addresses that the pods' bridge holds
}

// find reads the files. Where one is lost the others may do.
func (c *cleaner) find() (r remains) {
	var err error
	if r.record, err = readOwned(c.settings.RunDir); err != nil {
		c.say("note: %v", err)
	}
	if r.lease, err = local.LoadLease(c.settings.StateDir, c.settings.NodeName); err != nil {
		c.say("note: %v", err)
	}
	env, err := local.ReadEnv(c.settings.SubnetFile)
	r.envOurs = err == nil && isOurs(env, r.record, r.lease)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		c.say("left what cannot be read, and so may be by another: %v: rm %s", err, c.settings.SubnetFile)
	case !r.envOurs:
		c.say("left %s: nothing here shows that percaled wrote it, and flannel writes such a file, too", c.settings.SubnetFile)
	}
	r.networks = slices.Clone(r.record.Networks)
	if r.envOurs {
		r.networks = slices.Concat(r.networks, env.Networks, env.IPv6Networks)
		r.hold(env.Subnet)
		r.hold(env.IPv6Subnet)
	}
	for e := range r.lease.Endpoints() {
		r.networks = append(r.networks, e.Subnet)
		r.hold(netip.PrefixFrom(e.Subnet.Addr().Next(), e.Subnet.Bits()))
	}
	r.networks = slices.DeleteFunc(r.networks, func(n netip.Prefix) bool { return n.Bits() <= 0 })
	return r
}

// hold notes what addresses a subnet has, given as in subnet.env.
func (r *remains) hold(gateway netip.Prefix) {
	if gateway.IsValid() {
		base := gateway.Masked().Addr()
		r.vteps = append(r.vteps, netip.PrefixFrom(base, base.BitLen()))
		r.gateways = append(r.gateways, gateway)
	}
}

// isOurs reports whether a subnet.env is of the agent that left the others: it
// tells of the lease, or where that is lost, of a recorded network.
func isOurs(env local.Env, record owned.Record, lease subnet.Lease) bool {
	if lease == (subnet.Lease{}) {
		return slices.ContainsFunc(slices.Concat(env.Networks, env.IPv6Networks), func(n netip.Prefix) bool {
			return slices.Contains(record.Networks, n)
		})
	}
	return slices.ContainsFunc(env.Subnets(), func(s netip.Prefix) bool {
		return s == lease.V4.Subnet || s == lease.V6.Subnet
	})
}

// devices returns the overlay devices: those recorded, and those that hold our
// address.
func (c *cleaner) devices(ctx context.Context, links map[string]network.Link) ([]string, error) {
	names, err := c.holding(ctx, ofKind(links, network.KindVXLAN), c.remains.vteps)
	for _, d := range c.remains.record.In(links) {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// ofKind returns the names of the links of a kind.
func ofKind(links map[string]network.Link, kind string) []string {
	var names []string
	for name, l := range links {
		if l.Kind == kind {
			names = append(names, name)
		}
	}
	return names
}

// holding returns those of the links that hold one of the addresses.
func (c *cleaner) holding(ctx context.Context, names []string, addrs []netip.Prefix) ([]string, error) {
	have, err := c.kernel.ReadLinks(ctx, kernel.Scope{Devices: names})
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	for a := range have.Addresses {
		if slices.Contains(addrs, a.Prefix) {
			found[a.Link] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// tellSettings says what stays, in the kernel and in the store, and how to end
// it.
func (c *cleaner) tellSettings(ctx context.Context, links map[string]network.Link) {
	if len(c.remains.networks) == 0 {
		return
	}
	paths := []string{forward4, forward6}
	for _, name := range slices.Sorted(maps.Keys(links)) {
		paths = append(paths, acceptRA(name))
	}
	have, err := c.kernel.ReadLinks(ctx, kernel.Scope{Sysctls: paths})
	if err != nil {
		c.say("note: %v", err)
	}
	v6 := slices.ContainsFunc(c.remains.networks, func(n netip.Prefix) bool { return n.Addr().Is6() })
	for _, path := range paths {
		on, off := "1", "0"
		if strings.HasSuffix(path, "/accept_ra") {
			on, off = "2", "1"
		}
		if have.Sysctls[path].Value == on && (path == forward4 || v6) {
			c.say("left %s = %s, on which others may depend; if none does: sysctl -w %s=%s", path, on, path, off)
		}
	}
	if c.remains.lease != (subnet.Lease{}) && c.settings.KubeSubnetMgr {
		c.say("left the lease on the Node object, with which it goes; to end it now: kubectl label node %[1]s percale.io/record-; kubectl annotate node %[1]s %[2]s",
			c.remains.lease.Node, strings.Join(kube.Keys(c.settings.KubeAnnotationPrefix), "- ")+"-")
	} else if c.remains.lease != (subnet.Lease{}) {
		key := etcd.LeaseKey(c.settings.EtcdPrefix, c.remains.lease)
		c.say("left the lease in the store, where it ends by itself; to end it now, on a machine that reaches etcd: etcdctl del '%s'", key)
	}
}
