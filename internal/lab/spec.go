// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"

	"github.com/percale-net/percale/internal/lab/kubeapi"
)

// Families says which address families a lab has, on the underlay and for its
// pods alike.
type Families string

// The choices of address families.
const (
	IPv4 Families = "ipv4"
	Dual Families = "dual"
	IPv6 Families = "ipv6"
)

// V4 reports whether the lab has IPv4.
func (f Families) V4() bool { return f != IPv6 }

// V6 reports whether the lab has IPv6.
func (f Families) V6() bool { return f != IPv4 }

// Store says where a lab's agents keep their leases.
type Store string

// The stores.
const (
	StoreEtcd Store = "etcd"
	StoreKube Store = "kube" // on Nodes, behind a real API server
)

// A Spec says what a lab is to be. The zero Spec is usable: fill gives it three
// nodes, no pods, IPv4 and VXLAN.
type Spec struct {
	Name     string // prefix of every namespace; at most 8 letters and digits
	Nodes    int
	Pods     int // per node and network
	Switches int // 1, or 2 joined by a router; nodes take turns
	Networks int // pod networks on each node, each with its own agent
	Families Families
	Backend  string          // type in net-conf
	Conf     json.RawMessage // object merged over the net-conf of every network
	Args     []string        // further arguments for every agent
	Bin      string          // directory of percaled, percale-cni and percale-lab
	NoWait   bool            // do not wait for the agents to be ready; no pods are made

	Store      Store
	Manifest   string // with StoreKube: applied before the nodes are made; dist/percale.yaml
	NoPodCIDRs bool   // with StoreKube: Kubernetes gives Nodes no pod ranges
}

const maxNodes = 200 // host parts 10+1 to 10+200 of a /24

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)

// fill sets what s leaves open and reports all that is wrong with the rest.
func (s *Spec) fill() error {
	def(&s.Name, "pl")
	def(&s.Nodes, 3)
	def(&s.Switches, 1)
	def(&s.Networks, 1)
	def(&s.Families, IPv4)
	def(&s.Backend, "vxlan")
	def(&s.Store, StoreEtcd)
	if len(s.Conf) == 0 {
		s.Conf = nil // an empty one that is not nil cannot be written as JSON
	}
	var errs []error
	var err error
	if s.Bin == "" {
		s.Bin, err = FindBin()
	} else {
		s.Bin, err = filepath.Abs(s.Bin)
	}
	errs = append(errs, err)
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nameForm.MatchString(s.Name), "lab name %q: want a letter and up to 7 letters or digits", s.Name)
	check(s.Nodes >= 1 && s.Nodes <= maxNodes, "%d nodes: want 1 to %d", s.Nodes, maxNodes)
	check(s.Pods >= 0 && s.Pods <= 100, "%d pods: want 0 to 100", s.Pods)
	check(s.Switches == 1 || s.Switches == 2, "%d switches: want 1 or 2", s.Switches)
	check(s.Networks >= 1 && s.Networks <= 9, "%d networks: want 1 to 9", s.Networks)
	check(s.Families == IPv4 || s.Families == Dual || s.Families == IPv6,
		"families %q: want ipv4, dual or ipv6", s.Families)
	if _, err := s.NetConf(0); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, s.fillKube())
	return errors.Join(errs...)
}

// fillKube is fill for what the store asks for.
func (s *Spec) fillKube() (err error) {
	switch {
	case s.Store == StoreEtcd:
		return nil
	case s.Store != StoreKube:
		return fmt.Errorf("store %q: want etcd or kube", s.Store)
	case s.Networks != 1:
		return fmt.Errorf("%d networks on Kubernetes: want 1, as a Node has one pod range per family", s.Networks)
	case s.Manifest == "":
		s.Manifest, err = findManifest(s.Bin)
	default:
		s.Manifest, err = filepath.Abs(s.Manifest)
	}
	if _, missing := os.Stat(filepath.Join(s.Bin, kubeapi.Binary)); missing != nil {
		err = errors.Join(err, fmt.Errorf("find the Kubernetes servers: %w; make kubeapi builds them", missing))
	}
	return err
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// NetConf returns the net-conf.json of one pod network, counted from 0. Each
// has its own address range and VNI.
func (s Spec) NetConf(network int) ([]byte, error) {
	conf := map[string]any{"Backend": map[string]any{"Type": s.Backend}}
	if s.Backend == "vxlan" {
		conf["Backend"] = map[string]any{"Type": s.Backend, "VNI": network + 1}
	}
	if s.Families.V4() {
		conf["Network"] = fmt.Sprintf("10.%d.0.0/16", 244-network)
	} else {
		conf["EnableIPv4"] = false
	}
	if s.Families.V6() {
		conf["EnableIPv6"] = true
		conf["IPv6Network"] = fmt.Sprintf("fd00:10:%d::/48", 244-network)
	}
	if len(s.Conf) > 0 {
		var extra map[string]any
		if err := json.Unmarshal(s.Conf, &extra); err != nil {
			return nil, fmt.Errorf("net-conf to merge: want a JSON object: %w", err)
		}
		merge(conf, extra)
	}
	return json.Marshal(conf)
}

// merge sets the keys of extra in conf, and those of objects inside it one by
// one, so that {"Backend":{"Port":4789}} keeps the backend's type.
func merge(conf, extra map[string]any) {
	for k, v := range maps.All(extra) {
		into, ok := conf[k].(map[string]any)
		from, ok2 := v.(map[string]any)
		if ok && ok2 {
			merge(into, from)
			continue
		}
		conf[k] = v
	}
}

// FindBin returns the directory of the built binaries: $PERCALE_BIN, else
// where this program lies, else ./bin.
func FindBin() (string, error) {
	var dirs []string
	if dir := os.Getenv("PERCALE_BIN"); dir != "" {
		dirs = append(dirs, dir)
	}
	if exe, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(exe))
	}
	for _, dir := range append(dirs, "bin") {
		if _, err := os.Stat(filepath.Join(dir, "percaled")); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", fmt.Errorf("find percaled in %q or ./bin: not there; run make, or set PERCALE_BIN", dirs)
}
