// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/network/pod"
)

func TestBridgeErrorsAreApart(t *testing.T) {
	p := bridgePlan{memory: pod.Memory{Name: "cni0", Ports: map[string]bool{"veth1": true}}}
	failed := func(e any) error { return &kernel.EntryError{Op: "set", Entry: e, Err: errors.New("no")} }
	bridge := []error{
		failed(network.Link{Name: "cni0"}), failed(network.Link{Name: "veth1"}),
		failed(network.Address{Link: "cni0"}), failed(network.Sysctl{Path: "net/ipv6/conf/cni0/accept_ra"}),
	}
	overlay := []error{
		failed(network.Link{Name: "flannel.1"}), failed(network.Address{Link: "flannel.1"}), failed(network.Route{Link: "cni0"}),
		failed(network.Sysctl{Path: "net/ipv4/ip_forward"}), errors.New("list addresses: no"),
	}
	for _, err := range bridge {
		if o, b := p.part(errors.Join(nil, errors.Join(err))); o != nil || b == nil || !strings.Contains(b.Error(), err.Error()) {
			t.Errorf("%v is of the overlay: %v, of the bridge: %v; want the latter", err, o, b)
		}
		if o, b := (bridgePlan{}).part(err); o == nil || b != nil {
			t.Errorf("without a bridge %v is of the overlay: %v, of the bridge: %v; want the former", err, o, b)
		}
	}
	for _, err := range overlay {
		if o, b := p.part(errors.Join(err)); b != nil || !errors.Is(o, err) {
			t.Errorf("%v is of the overlay: %v, of the bridge: %v; want the former", err, o, b)
		}
	}
	o, b := p.part(errors.Join(append(bridge, overlay...)...))
	if len(failedEntries(o)) != 4 || !strings.Contains(b.Error(), "and 1 more") {
		t.Errorf("all together: overlay %v, bridge %v; want each its own, the bridge's in short", o, b)
	}
	if o, b := p.part(nil); o != nil || b != nil {
		t.Errorf("no error: overlay %v, bridge %v; want none", o, b)
	}
}

func TestRecallBridge(t *testing.T) {
	dir := t.TempDir()
	a := New(config.Settings{RunDir: dir}, "test", slog.New(slog.DiscardHandler))
	a.recallBridge()
	if m := a.bridge.Load(); m == nil || m.Name != "" {
		t.Fatalf("without a file: %+v; want the zero memory", m)
	}
	const kept = `{"name":"cni0","mac":"0a:58:0a:2a:07:01","promisc":true,"gateways":["10.42.7.1/24"],"ports":{"veth1":true}}`
	for text, want := range map[string]pod.Memory{
		kept: {Name: "cni0", MAC: network.MAC{0x0a, 0x58, 10, 42, 7, 1}, Promisc: true,
			Gateways: []netip.Prefix{netip.MustParsePrefix("10.42.7.1/24")}, Ports: map[string]bool{"veth1": true}},
		kept[:20]: {},
	} {
		if err := os.WriteFile(filepath.Join(dir, "bridge.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if a.recallBridge(); !reflect.DeepEqual(*a.bridge.Load(), want) {
			t.Errorf("%s is recalled as %+v; want %+v", text, *a.bridge.Load(), want)
		}
	}
}

// The overlay's wish must not grow by the bridge's: the scope is drawn from it,
// and what is on a link of the scope is ours as a whole.
func TestBridgeIsNoDeviceOfOurs(t *testing.T) {
	link := func(name, master string) network.Link { return network.Link{Name: name, Kind: "veth", Master: master} }
	links := map[string]network.Link{"cni0": {Name: "cni0", Kind: "bridge", MTU: 1450}, "veth1": link("veth1", "cni0")}
	g := netip.MustParsePrefix("10.42.7.1/24")
	s := pod.Sight{Links: links, Addresses: []network.Address{{Link: "cni0", Prefix: g}}, Gateways: []netip.Prefix{g}}
	p := bridgePlan{memory: pod.Learn(pod.Memory{}, s), sight: s, mtu: 1450}.look(links)
	overlay := network.NewState()
	overlay.Links["flannel.1"] = network.Link{Name: "flannel.1"}
	joined := p.join(overlay)
	if len(overlay.Links) != 1 || len(overlay.Addresses)+len(overlay.Sysctls) != 0 || len(joined.Links) != 3 {
		t.Errorf("overlay = %+v, joined = %+v; want the former as it was, the latter with cni0 and veth1", overlay, joined)
	}
	scope := p.scope((&Agent{}).scopeOf(overlay))
	if fmt.Sprint(scope.Devices) != "[flannel.1]" || fmt.Sprint(scope.Addresses) != "[{cni0 10.42.7.1/24}]" {
		t.Errorf("scope = %+v; want the device flannel.1, and the gateway on cni0", scope)
	}
}
