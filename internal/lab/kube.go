// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/percale-net/percale/internal/lab/kubeapi"
)

const (
	kubeRole    = "kube-apiserver"
	managerRole = "kube-controller-manager"
	kubePort    = 6443
	confName    = "percale-conf" // the ConfigMap of dist/percale.yaml
)

// startStore starts what the agents keep their leases in, and puts the net-conf
// where they look for it.
func (l *Lab) startStore(ctx context.Context) error {
	if err := l.StartEtcd(ctx); err != nil {
		return err
	}
	if l.spec().Store == StoreEtcd {
		return l.putConfigs(ctx)
	}
	if err := l.plane().Write(); err != nil {
		return err
	}
	if err := l.StartKube(ctx); err != nil {
		return err
	}
	if err := l.StartManager(); err != nil {
		return err
	}
	return l.install(ctx)
}

// plane is the lab's Kubernetes, at the address where etcd is too.
func (l *Lab) plane() kubeapi.Plane {
	gateway := l.spec().underlays()[0].gateways()[0].Addr()
	return kubeapi.Plane{
		Dir:    filepath.Join(l.dir(), "kube"),
		Listen: netip.AddrPortFrom(gateway, kubePort),
		Etcd:   l.spec().etcdEndpoint(),
	}
}

func (l *Lab) kubeapi(args []string) []string {
	return append([]string{filepath.Join(l.spec().Bin, kubeapi.Binary)}, args...)
}

// StartKube starts the lab's API server, with the data that etcd has, and waits
// until it is ready.
func (l *Lab) StartKube(ctx context.Context) error {
	if err := l.start(l.Switch(), kubeRole, l.kubeapi(l.plane().ServerArgs())); err != nil {
		return err
	}
	client, err := l.Kube()
	if err != nil {
		return err
	}
	return l.await(ctx, kubeRole, func() error { return client.Ready(ctx) })
}

// StartManager starts the lab's kube-controller-manager, and waits for nothing.
func (l *Lab) StartManager() error {
	return l.start(l.Switch(), managerRole, l.kubeapi(l.plane().ManagerArgs()))
}

// Kube returns an administrator's client of the lab's API server, which dials
// inside the lab.
func (l *Lab) Kube() (*kubeapi.Client, error) { return kubeapi.NewClient(l.inside(l.plane().Admin())) }

// KubeAs returns a client for the bearer of a token.
func (l *Lab) KubeAs(token string) (*kubeapi.Client, error) {
	return kubeapi.NewClient(l.inside(l.plane().As(token)))
}

// KubeRequests returns what the lab's API server was asked for so far.
func (l *Lab) KubeRequests() ([]kubeapi.Request, error) { return l.plane().Requests() }

func (l *Lab) inside(c *rest.Config) *rest.Config {
	dial := dialerIn(l.Switch())
	c.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) }
	return c
}

// install applies the manifest, as a cluster's administrator does, with the
// lab's net-conf in it, and puts that where a kubelet mounts it for the agents.
func (l *Lab) install(ctx context.Context) error {
	conf, err := l.spec().NetConf(0)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.NetConfFile()), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(l.NetConfFile(), conf, 0o644); err != nil {
		return err
	}
	manifest, err := os.ReadFile(l.spec().Manifest)
	if err != nil {
		return err
	}
	objects, err := kubeapi.Objects(manifest)
	if err != nil {
		return fmt.Errorf("read %s: %w", l.spec().Manifest, err)
	}
	for _, o := range objects {
		if o.GetKind() == "ConfigMap" && o.GetName() == confName {
			if err := unstructured.SetNestedField(o.Object, string(conf), "data", "net-conf.json"); err != nil {
				return err
			}
		}
	}
	client, err := l.Kube()
	if err != nil {
		return err
	}
	return client.ApplyObjects(ctx, objects)
}

// NetConfFile is where the agents of a lab with Kubernetes read their net-conf:
// alone in its folder, as where a ConfigMap is mounted.
func (l *Lab) NetConfFile() string { return filepath.Join(l.dir(), "conf", "net-conf.json") }

// PodCIDRs returns what the lab has Kubernetes give a node: the subnets of the
// pod networks with the node's number, a /24 and a /64.
func (n *Node) PodCIDRs() ([]netip.Prefix, error) {
	b, err := n.lab.spec().NetConf(0)
	if err != nil {
		return nil, err
	}
	var conf struct{ Network, IPv6Network netip.Prefix }
	if err := json.Unmarshal(b, &conf); err != nil {
		return nil, fmt.Errorf("read net-conf: %w", err)
	}
	var all []netip.Prefix
	for _, p := range []struct {
		network  netip.Prefix
		at, bits int // of the byte that has the node's number
	}{{conf.Network, 2, 24}, {conf.IPv6Network, 7, 64}} {
		if p.network.IsValid() {
			b := p.network.Masked().Addr().AsSlice()
			b[p.at] = byte(n.rec.Index)
			a, _ := netip.AddrFromSlice(b)
			all = append(all, netip.PrefixFrom(a, p.bits))
		}
	}
	return all, nil
}

// Register makes the node's Node object, as its kubelet does, and where the lab
// is to, what gives it pod ranges.
func (n *Node) Register(ctx context.Context) error {
	client, err := n.lab.Kube()
	if err != nil {
		return err
	}
	object := kubeapi.Node{Name: n.Name(), Addrs: n.Uplink()}
	if !n.lab.spec().NoPodCIDRs {
		if object.PodCIDRs, err = n.PodCIDRs(); err != nil {
			return err
		}
	}
	return client.CreateNode(ctx, object)
}

// NewToken has the node's agent use another token, as a kubelet does from time
// to time.
func (n *Node) NewToken(ctx context.Context) error {
	client, err := n.lab.Kube()
	if err != nil {
		return err
	}
	token, err := client.NodeToken(ctx, n.Name())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.dir(), 0o755); err != nil {
		return err
	}
	// A reader sees the old or the new one whole.
	if err := os.WriteFile(n.TokenFile()+".new", []byte(token), 0o600); err != nil {
		return err
	}
	if err := os.Rename(n.TokenFile()+".new", n.TokenFile()); err != nil {
		return err
	}
	return n.lab.plane().Kubeconfig(n.kubeconfig(), n.TokenFile())
}

// TokenFile is what the node's agent authenticates itself to Kubernetes with.
func (n *Node) TokenFile() string { return filepath.Join(n.dir(), "token") }

func (n *Node) kubeconfig() string { return filepath.Join(n.dir(), "kubeconfig") }

// findManifest returns dist/percale.yaml beside the folder of the binaries.
func findManifest(bin string) (string, error) {
	path := filepath.Join(filepath.Dir(bin), "dist", "percale.yaml")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find what to apply to Kubernetes: no %s; name the manifest with --manifest", path)
	}
	return path, nil
}
