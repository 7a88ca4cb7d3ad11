// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/percale-net/percale/internal/netns"
)

// A Node is one node of a lab: a namespace with an uplink.
type Node struct {
	lab *Lab
	rec *nodeRecord
}

// Nodes returns the nodes in order.
func (l *Lab) Nodes() []*Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ns []*Node
	for _, r := range l.rec.Nodes {
		ns = append(ns, &Node{l, r})
	}
	return ns
}

// Node returns the node with that number, from 1. It must exist.
func (l *Lab) Node(index int) *Node {
	for _, n := range l.Nodes() {
		if n.rec.Index == index {
			return n
		}
	}
	panic(fmt.Sprintf("lab %s has no node n%d", l.Name(), index))
}

// AddNode makes one more node and starts its agents, but waits for nothing.
func (l *Lab) AddNode(ctx context.Context) (*Node, error) {
	rec := &nodeRecord{Index: 1}
	if ns := l.Nodes(); len(ns) > 0 {
		rec.Index = ns[len(ns)-1].rec.Index + 1
	}
	if rec.Index > maxNodes {
		return nil, fmt.Errorf("add node n%d: a lab has at most %d", rec.Index, maxNodes)
	}
	if err := l.update(func(r *record) { r.Nodes = append(r.Nodes, rec) }); err != nil {
		return nil, err
	}
	n := &Node{l, rec}
	if err := l.buildNode(ctx, n); err != nil {
		return nil, err
	}
	if l.spec().Store == StoreKube {
		if err := errors.Join(n.Register(ctx), n.NewToken(ctx)); err != nil {
			return nil, err
		}
	}
	for k := range l.spec().Networks {
		if err := n.Agent(k).Start(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// RemoveNode takes a node away as if its power were cut: its lease stays.
func (l *Lab) RemoveNode(ctx context.Context, n *Node) error {
	names := []string{n.NS().Name()}
	for _, p := range n.Pods() {
		names = append(names, p.Name)
	}
	if err := removeNamespaces(ctx, names); err != nil {
		return err
	}
	if err := os.RemoveAll(n.dir()); err != nil {
		return err
	}
	return l.update(func(r *record) {
		r.Nodes = slices.DeleteFunc(r.Nodes, func(o *nodeRecord) bool { return o == n.rec })
		r.Namespaces = slices.DeleteFunc(r.Namespaces, func(o string) bool { return slices.Contains(names, o) })
	})
}

// Name returns the node's name in the cluster, such as n1.
func (n *Node) Name() string { return fmt.Sprintf("n%d", n.rec.Index) }

// NS returns the node's namespace.
func (n *Node) NS() netns.NS { return netns.Named(nodeNS(n.lab.Name(), n.rec.Index)) }

// Uplink returns the node's underlay addresses, one per family of the lab.
func (n *Node) Uplink() []netip.Addr {
	var as []netip.Addr
	for _, p := range n.lab.spec().underlayOf(n.rec.Index).host(n.rec.Index) {
		as = append(as, p.Addr())
	}
	return as
}

func (n *Node) dir() string { return filepath.Join(n.lab.dir(), n.Name()) }

// An Agent is the percaled of one node for one pod network.
type Agent struct {
	node    *Node
	network int
}

// Agent returns the agent for the pod network with that number, from 0.
func (n *Node) Agent(network int) *Agent { return &Agent{n, network} }

// Name returns the agent's node, and its network where the lab has several.
func (a *Agent) Name() string {
	if a.node.lab.spec().Networks == 1 {
		return a.node.Name()
	}
	return fmt.Sprintf("%s net%d", a.node.Name(), a.network)
}

// Pods returns how many pods are on the agent's network.
func (a *Agent) Pods() int {
	n := 0
	for _, p := range a.node.Pods() {
		if p.Network == a.network {
			n++
		}
	}
	return n
}

// Dir is where all files of this agent are.
func (a *Agent) Dir() string { return filepath.Join(a.node.dir(), fmt.Sprintf("net%d", a.network)) }

// RunDir is the agent's --run-dir. Its last part names the agent's firewall
// rules, so each network on a node has another.
func (a *Agent) RunDir() string {
	name := "percale"
	if a.network > 0 {
		name = fmt.Sprintf("percale-net%d", a.network)
	}
	return filepath.Join(a.Dir(), name)
}

// StateDir is the agent's --state-dir.
func (a *Agent) StateDir() string { return filepath.Join(a.Dir(), "state") }

// SubnetFile is the agent's --subnet-file.
func (a *Agent) SubnetFile() string { return filepath.Join(a.Dir(), "subnet.env") }

// LogPath is where the agent's output goes.
func (a *Agent) LogPath() string { return a.node.lab.LogPath(a.role()) }

func (a *Agent) role() string { return agentRole(a.node.Name(), a.network) }

// PID returns the id of the agent's process, 0 if it does not run.
func (a *Agent) PID() int {
	if p := a.node.lab.process(a.role()); p.Running() {
		return p.PID
	}
	return 0
}

// Args returns the agent's command line.
func (a *Agent) Args() []string {
	s := a.node.lab.spec()
	store := []string{"--etcd-endpoints=" + s.etcdEndpoint(), "--etcd-prefix=" + s.EtcdPrefix(a.network)}
	if s.Store == StoreKube {
		store = []string{"--kube-subnet-mgr", "--kubeconfig-file=" + a.node.kubeconfig(), "--net-config-path=" + a.node.lab.NetConfFile()}
	}
	return slices.Concat([]string{filepath.Join(s.Bin, "percaled")}, store, []string{
		"--node-name=" + a.node.Name(),
		"--subnet-file=" + a.SubnetFile(),
		"--run-dir=" + a.RunDir(),
		"--state-dir=" + a.StateDir(),
		"--healthz-ip=127.0.0.1",
		fmt.Sprintf("--healthz-port=%d", 8081+a.network),
		"--ip-masq=true",
	}, s.Args)
}

// Start starts the agent. It is an error if it runs.
func (a *Agent) Start() error {
	if a.PID() != 0 {
		return errors.New("start " + a.role() + ": it runs already")
	}
	if err := os.MkdirAll(a.Dir(), 0o755); err != nil {
		return err
	}
	return a.node.lab.start(a.node.NS(), a.role(), a.Args())
}

// Pause stops the agent where it stands, as a machine that is starved of time
// does.
func (a *Agent) Pause() error { return a.node.lab.process(a.role()).pause() }

// Resume lets a paused agent go on.
func (a *Agent) Resume() error { return a.node.lab.process(a.role()).send(unix.SIGCONT) }

// Stop ends the agent in good order, with SIGTERM, and waits for it.
func (a *Agent) Stop(ctx context.Context) error {
	return a.node.lab.process(a.role()).signal(ctx, unix.SIGTERM)
}

// Kill ends the agent as a crash would, with SIGKILL.
func (a *Agent) Kill(ctx context.Context) error { return a.node.lab.kill(ctx, a.role()) }
