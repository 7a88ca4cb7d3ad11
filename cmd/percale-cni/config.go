// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/pod"
	"github.com/percale-net/percale/subnet/ipam"
	"github.com/percale-net/percale/subnet/local"
)

// A config is the network configuration as it comes on standard input. Its
// keys are those of flannel's plugin, and runDir. Parts that only some verbs
// need are not looked into yet, so that nothing keeps a pod from being deleted.
type config struct {
	CNIVersion    string          `json:"cniVersion"`
	Name          string          `json:"name"`
	Type          string          `json:"type"`
	SubnetFile    string          `json:"subnetFile"`
	RunDir        string          `json:"runDir"`
	Delegate      json.RawMessage `json:"delegate"`
	IPAM          json.RawMessage `json:"ipam"`
	RuntimeConfig json.RawMessage `json:"runtimeConfig"`
	DNS           json.RawMessage `json:"dns"`
	Args          json.RawMessage `json:"args"`
	DataDir       string          `json:"dataDir"` // of flannel's plugin
	Guard         *bool           `json:"guard"`   // absent: where the kernel can
	PrevResult    map[string]any  `json:"prevResult"`
	Plugins       json.RawMessage `json:"plugins"` // only a list of plugins has them

	// What a runtime has, of GC; the second name is a mistake of the specification's.
	Valid    json.RawMessage `json:"cni.dev/valid-attachments"`
	OldValid json.RawMessage `json:"cni.dev/attachments"`
}

func parseConfig(stdin []byte) (config, error) {
	c := config{SubnetFile: "/run/flannel/subnet.env", RunDir: "/run/percale", DataDir: "/var/lib/cni/flannel"}
	if err := decode("", stdin, &c); err != nil {
		return config{}, err
	}
	if c.Plugins != nil {
		return config{}, codef(types.ErrInvalidNetworkConfig, "network configuration: this is a list of plugins (key \"plugins\"): "+
			"give one of its members, or run it with a runtime, which does so")
	}
	return c, nil
}

// decode reads JSON, and names the key that is not of its type. An absent
// value leaves v alone.
func decode(within string, raw json.RawMessage, v any) error {
	if len(raw) == 0 {
		return nil
	}
	err := json.Unmarshal(raw, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return codef(types.ErrDecodingFailure, "network configuration: %s: is a JSON %s, want %s", within+wrong.Field, wrong.Value, wrong.Type)
	case err != nil:
		return codef(types.ErrDecodingFailure, "network configuration: %s%w", within, err)
	}
	return nil
}

// store returns where the network's pod addresses are kept.
func (c config) store() (local.Store, error) {
	var where struct {
		DataDir string `json:"dataDir"`
	}
	if err := decode("ipam.", c.IPAM, &where); err != nil {
		return local.Store{}, err
	}
	s, err := local.NewStore(where.DataDir, c.Name)
	if err != nil {
		return local.Store{}, codef(types.ErrInvalidNetworkConfig, "network configuration: %w", err)
	}
	return s, nil
}

// prevResult reads what ADD returned, after the plugins behind this one.
func (c config) prevResult() (types.Result, error) {
	for key, v := range c.PrevResult { // which the library would follow
		if list, ok := v.([]any); ok && slices.Contains(list, nil) {
			return nil, codef(types.ErrDecodingFailure, "network configuration: prevResult.%.60s: holds a null", key)
		}
	}
	pc := types.PluginConf{CNIVersion: c.CNIVersion, RawPrevResult: c.PrevResult}
	if err := version.ParsePrevResult(&pc); err != nil {
		return nil, codef(types.ErrDecodingFailure, "network configuration: %w", err)
	}
	if pc.PrevResult == nil {
		return nil, codef(types.ErrInvalidNetworkConfig, "network configuration: CHECK needs prevResult, the result of ADD")
	}
	return pc.PrevResult, nil
}

// A settings value is what a valid configuration asks for.
type settings struct {
	bridge       string
	mtu          int // bytes; 0: as the subnet file has it
	ipMasq       *bool
	gateway      bool // the bridge has the gateway addresses
	defaultRoute bool // pods reach everything through it
	hairpin      bool
	promisc      bool
	force        bool // the bridge's addresses may be changed under its pods
	routes       []pod.Given
	mac          network.MAC // of the pod's interface; zero: derived
	dns          types.DNS
	within       []ipam.Span // what pods get of the node's subnets; nil: all
	reserved     []ipam.Span // of that, what only pods that ask for it get
	wanted       []netip.Addr
	wantedBy     string // where the pod asks for these
}

// settings reads and checks all parts of c, and what the environment has of
// them.
func (c config) settings(cniArgs string) (settings, error) {
	s, err := parseDelegate(c.Delegate)
	if err != nil {
		return settings{}, err
	}
	if err := s.parseIPAM(c.IPAM); err != nil {
		return settings{}, err
	}
	if s.dns.IsEmpty() {
		if err := decode("dns.", c.DNS, &s.dns); err != nil {
			return settings{}, err
		}
	}
	var runtime struct {
		MAC string   `json:"mac"`
		IPs []string `json:"ips"`
	}
	if err := decode("runtimeConfig.", c.RuntimeConfig, &runtime); err != nil {
		return settings{}, err
	}
	if s.wanted, s.wantedBy, err = wanted(runtime.IPs, c.Args, cniArgs); err != nil {
		return settings{}, err
	}
	if runtime.MAC != "" {
		s.mac, err = network.ParseMAC(runtime.MAC)
		if err == nil && (s.mac.IsGroup() || s.mac.IsZero()) {
			err = fmt.Errorf("MAC %s: want that of one interface: an even first byte", s.mac)
		}
		if err != nil {
			return settings{}, codef(types.ErrInvalidNetworkConfig, "network configuration: runtimeConfig.mac: %w", err)
		}
	}
	return s, nil
}

// ignored returns the keys of runtimeConfig that another plugin must serve.
func (c config) ignored() []string {
	var runtime map[string]json.RawMessage
	if decode("", c.RuntimeConfig, &runtime) != nil {
		return nil
	}
	var keys []string
	for _, key := range []string{"aliases", "bandwidth", "infinibandGUID", "ipRanges", "portMappings"} {
		if v, ok := runtime[key]; ok && !isNothing(v) {
			keys = append(keys, key)
		}
	}
	return keys
}

// A route is one of the routes of the key "ipam".
type route struct {
	Dst      string `json:"dst"`
	GW       string `json:"gw"`
	Priority uint32 `json:"priority"`
	MTU      int    `json:"mtu"`
	AdvMSS   int    `json:"advmss"`
	Table    *int   `json:"table"`
	Scope    *int   `json:"scope"`
}

// parseIPAM reads the key "ipam".
func (s *settings) parseIPAM(raw json.RawMessage) error {
	if err := checkKeys("ipam.", raw, ipamKey); err != nil {
		return err
	}
	var ipam struct {
		Type     string   `json:"type"`
		Routes   []route  `json:"routes"`
		Ranges   [][]span `json:"ranges"`
		Reserved []string `json:"reserved"`
	}
	if err := decode("ipam.", raw, &ipam); err != nil {
		return err
	}
	if ipam.Type != "" && ipam.Type != "host-local" {
		return codef(types.ErrUnsupportedField, "network configuration: ipam.type is %q: percale-cni keeps pod addresses itself, as host-local does: remove the key", ipam.Type)
	}
	for i, r := range ipam.Routes {
		g, err := r.parse()
		if err != nil {
			return codef(types.ErrInvalidNetworkConfig, "network configuration: ipam.routes[%d]: %w", i, err)
		}
		s.routes = append(s.routes, g)
	}
	var err error
	s.within, s.reserved, err = parseSpans(ipam.Ranges, ipam.Reserved)
	return err
}

func (r route) parse() (pod.Given, error) {
	if r.MTU != 0 || r.AdvMSS != 0 || r.Table != nil || r.Scope != nil {
		return pod.Given{}, errors.New("mtu, advmss, table and scope are not supported: remove them")
	}
	dst, err := netip.ParsePrefix(r.Dst)
	if err != nil || dst.Addr().Is4In6() {
		return pod.Given{}, fmt.Errorf("dst %.60q: want a prefix such as 192.0.2.0/24", r.Dst)
	}
	g := pod.Given{Dst: dst.Masked(), Metric: r.Priority}
	if r.GW == "" {
		return g, nil
	}
	if g.Via, err = netip.ParseAddr(r.GW); err != nil || g.Via.Is4() != dst.Addr().Is4() || g.Via.Zone() != "" {
		return pod.Given{}, fmt.Errorf("gw %.60q: want an address of the family of dst %s", r.GW, dst)
	}
	return g, nil
}
