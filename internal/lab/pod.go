// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/percale-net/percale/internal/netns"
)

// Pods returns every pod of the lab, node by node.
func (l *Lab) Pods() []Pod {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ps []Pod
	for _, n := range l.rec.Nodes {
		ps = append(ps, n.Pods...)
	}
	return ps
}

// NS returns the pod's namespace.
func (p Pod) NS() netns.NS { return netns.Named(p.Name) }

// Pods returns the pods of the node.
func (n *Node) Pods() []Pod {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	return slices.Clone(n.rec.Pods)
}

// AddPod makes a pod on one pod network of the node. The agent must have
// written subnet.env.
func (n *Node) AddPod(ctx context.Context, network int) (Pod, error) {
	index := 1
	if ps := n.Pods(); len(ps) > 0 {
		index = ps[len(ps)-1].Index + 1
	}
	p := Pod{Name: podNS(n.NS().Name(), index), Index: index, Network: network}
	if _, err := n.lab.addNamespace(p.Name); err != nil {
		return Pod{}, err
	}
	out, err := n.CNI(ctx, "ADD", p)
	if err != nil {
		return Pod{}, err
	}
	if p.Addrs, err = parseResult(out); err != nil {
		return Pod{}, fmt.Errorf("add pod %s: %w", p.Name, err)
	}
	return p, n.lab.update(func(*record) { n.rec.Pods = append(n.rec.Pods, p) })
}

// RemovePod unwires a pod and removes its namespace.
func (n *Node) RemovePod(ctx context.Context, p Pod) error {
	if _, err := n.CNI(ctx, "DEL", p); err != nil {
		return err
	}
	if err := removeNamespaces(ctx, []string{p.Name}); err != nil {
		return err
	}
	return n.lab.update(func(r *record) {
		n.rec.Pods = slices.DeleteFunc(n.rec.Pods, func(o Pod) bool { return o.Name == p.Name })
		r.Namespaces = slices.DeleteFunc(r.Namespaces, func(o string) bool { return o == p.Name })
	})
}

// CNI runs percale-cni on the node as a container runtime does, and returns
// what it printed.
func (n *Node) CNI(ctx context.Context, command string, p Pod) ([]byte, error) {
	conf, err := json.Marshal(n.cniConf(p.Network))
	if err != nil {
		return nil, err
	}
	bin := n.lab.spec().Bin
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "percale-cni"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+p.Name,
		"CNI_NETNS="+p.NS().Path(), "CNI_IFNAME="+UplinkName, "CNI_PATH="+bin)
	cmd.Stdin = bytes.NewReader(conf)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var out []byte
	err = n.NS().Do(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	if err != nil {
		return out, fmt.Errorf("percale-cni %s of %s: %w: %s%s", command, p.Name, err, out, stderr.Bytes())
	}
	return out, nil
}

// cniConf is the network configuration that a node's pods are added with.
func (n *Node) cniConf(network int) map[string]any {
	a := n.Agent(network)
	return map[string]any{
		"cniVersion": "1.1.0",
		"name":       bridgeName(network),
		"type":       "percale-cni",
		"subnetFile": a.SubnetFile(),
		"dataDir":    filepath.Join(a.Dir(), "cni"),
		"runDir":     a.RunDir(),
		"delegate":   map[string]any{"bridge": bridgeName(network), "hairpinMode": true, "isDefaultGateway": true},
		"ipam":       map[string]any{"dataDir": filepath.Join(a.Dir(), "networks")},
	}
}

// parseResult reads the addresses from a CNI result.
func parseResult(b []byte) ([]netip.Addr, error) {
	var r struct {
		IPs []struct{ Address netip.Prefix }
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read CNI result: %w", err)
	}
	if len(r.IPs) == 0 {
		return nil, errors.New("read CNI result: it has no address")
	}
	var as []netip.Addr
	for _, ip := range r.IPs {
		as = append(as, ip.Address.Addr())
	}
	return as, nil
}
