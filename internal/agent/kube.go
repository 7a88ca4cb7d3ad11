// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/percale-net/percale/internal/kubenode"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/subnet"
	"github.com/percale-net/percale/subnet/kube"
)

// maxConfFile bounds what is read of the net-conf file, in bytes; what is longer
// is refused by its length.
const maxConfFile = 1 << 20

// A kubeStore keeps leases on Nodes; net-conf is a file, as a ConfigMap makes it.
type kubeStore struct {
	*kube.Store
	path string // of net-conf
}

// NetConf implements Store.
func (s kubeStore) NetConf(context.Context) ([]byte, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("read net-conf: %w; write the network configuration there, for example "+
			`{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}, or name its file by --net-config-path`, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfFile))
	if err != nil {
		return nil, fmt.Errorf("read net-conf: %w", err)
	}
	return raw, nil
}

// WatchNetConf implements Store. A ConfigMap changes by a link beside the file,
// so anything that happens in the folder counts.
func (s kubeStore) WatchNetConf(ctx context.Context, kick func()) error {
	if err := watchFolder(ctx, filepath.Dir(s.path), "", kick); err != nil {
		return fmt.Errorf("watch %s: %w", s.path, err)
	}
	return nil
}

// learnName asks Kubernetes for our node's name where nothing else tells it.
func (a *Agent) learnName(ctx context.Context) error {
	if a.settings.NodeName != "" {
		return nil
	}
	client, err := kubenode.Client(a.settings.KubeAPIURL, a.settings.KubeconfigFile, a.version)
	if err != nil {
		return err
	}
	if a.settings.NodeName, err = kubenode.NodeName(ctx, client, os.Getenv); err != nil {
		return err
	}
	a.log.Info("node's name learned", "node", a.settings.NodeName)
	a.report(func(s *status.Status) { s.Node = a.settings.NodeName })
	return nil
}

// openKube opens the store of leases on Nodes.
func (a *Agent) openKube() error {
	s := a.settings
	client, err := kubenode.Client(s.KubeAPIURL, s.KubeconfigFile, a.version)
	if err != nil {
		return err
	}
	store, err := kube.Open(kube.Config{
		Client: client,
		Node:   s.NodeName,
		Prefix: s.KubeAnnotationPrefix,
		Own:    a.ownNode,
		Expect: len(a.known.Leases),
		Log:    a.log,
	})
	if err != nil {
		return err
	}
	a.store = kubeStore{store, s.NetConfigPath}
	return nil
}

// pools returns the pools of the families that this node takes part in. Where
// the cluster assigns subnets, it may have left one out for this node; until it
// is known what it assigns, our lease tells.
func (a *Agent) pools(v view) subnet.Pools {
	if !a.settings.KubeSubnetMgr {
		return a.conf.Pools
	}
	assigned := v.snapshot.Own.Assigned
	if !v.synced || assigned.Pending != "" {
		last := v.last()
		assigned = subnet.Assigned{V4: last.V4.Subnet, V6: last.V6.Subnet}
	}
	return assigned.Of(a.conf.Pools)
}

// allowed returns what of a lease the network configuration allows us to keep.
func (a *Agent) allowed(l subnet.Lease) subnet.Lease {
	if a.settings.KubeSubnetMgr {
		return l.Inside(a.conf.Pools)
	}
	return l.In(a.conf.Pools)
}

// subnetSource says where our subnets are from; "" if that is not known, or
// with etcd.
func (a *Agent) subnetSource(v view) string {
	if !a.settings.KubeSubnetMgr || !v.synced || !v.held {
		return ""
	}
	assigned := v.snapshot.Own.Assigned
	for e := range v.lease.Endpoints() {
		switch {
		case e.Subnet == assigned.V4 || e.Subnet == assigned.V6:
		case assigned.Pending != "":
			return status.FromBefore
		default:
			return status.FromLease
		}
	}
	return status.FromPodCIDR
}

// remedy adds to why we have no lease what helps in Kubernetes.
func (a *Agent) remedy(err error) error {
	node := a.voice.own.Load()
	if node == nil || !node.Exists || !errors.Is(err, subnet.ErrUnassigned) {
		return err
	}
	flags, example := "", ""
	for _, p := range []subnet.Pool{a.conf.Pools.V4, a.conf.Pools.V6} {
		if p.Enabled() && flags == "" {
			flags, example = p.Network.String(), fmt.Sprintf("%s/%d", p.Min, p.Len)
		} else if p.Enabled() {
			flags, example = flags+","+p.Network.String(), example+fmt.Sprintf(`","%s/%d`, p.Min, p.Len)
		}
	}
	return fmt.Errorf("%w. To have the cluster assign them, run kube-controller-manager with --allocate-node-cidrs=true --cluster-cidr=%s; "+
		`to assign one by hand, with a subnet that no other node has: kubectl patch node %s --type merge -p '{"spec":{"podCIDRs":["%s"]}}'`,
		err, flags, a.settings.NodeName, example)
}

// halfNotes tells of families that the cluster has left out for this node.
func (a *Agent) halfNotes(v view) []string {
	mine := a.pools(v)
	if !a.settings.KubeSubnetMgr || mine == a.conf.Pools {
		return nil
	}
	family := "IPv6"
	if !mine.V4.Enabled() {
		family = "IPv4"
	}
	return []string{fmt.Sprintf("net-conf enables %s, but Node %s has no pod CIDR of it: its pods have the other family only. "+
		"A Node's pod CIDRs cannot be changed: to give it both, drain it, delete the Node object and restart its kubelet", family, a.settings.NodeName)}
}
