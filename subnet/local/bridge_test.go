// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
)

var bridge = Bridge{
	Name: "cni0", MAC: "0a:58:0a:2a:07:01", Promisc: true,
	Gateways: []netip.Prefix{netip.MustParsePrefix("10.42.7.1/24"), netip.MustParsePrefix("fd00:7::1/64")},
	Ports:    map[string]bool{"veth0123456789a": true, "vethb": false},
}

func TestBridgeIsKept(t *testing.T) {
	dir := t.TempDir()
	if got, err := LoadBridge(dir); err != nil || !reflect.DeepEqual(got, Bridge{}) {
		t.Errorf("LoadBridge of nothing = %+v, %v; want the zero bridge", got, err)
	}
	for range 2 {
		if err := SaveBridge(dir, bridge); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadBridge(dir); err != nil || !reflect.DeepEqual(got, bridge) {
			t.Errorf("LoadBridge = %+v, %v; want %+v", got, err, bridge)
		}
	}
	if err := os.Truncate(bridgePath(dir), 20); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadBridge(dir); err == nil || !reflect.DeepEqual(got, Bridge{}) {
		t.Errorf("LoadBridge of half a file = %+v, %v; want an error", got, err)
	}
	for range 2 {
		if err := SaveBridge(dir, Bridge{}); err != nil {
			t.Errorf("SaveBridge of none: %v", err)
		}
		if _, err := os.Stat(bridgePath(dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after SaveBridge of none: %v; want no file", err)
		}
	}
}

func TestParseBridge(t *testing.T) {
	const good = `{"name":"cni0","mac":"0a:58:0a:2a:07:01","gateways":["10.42.7.1/24"],"ports":{"veth1":true}}`
	if _, err := parseBridge([]byte(good)); err != nil {
		t.Errorf("parseBridge(%s): %v", good, err)
	}
	for _, change := range [][2]string{
		{`{"name"`, `{"x":1,"name"`},
		{`}}`, `}}{}`},
		{`}}`, `}`},
		{`"cni0"`, `""`},
		{`"cni0"`, `"../../x"`},
		{`"cni0"`, `"all"`},
		{`"cni0"`, `"sixteen-bytes-xx"`},
		{`"cni0"`, `"a b"`},
		{`"cni0"`, `"veth1"`},
		{`"veth1"`, `"a/b"`},
		{`true`, `1`},
		{`0a:58:0a:2a:07:01`, `01:00:5e:00:00:01`},
		{`0a:58:0a:2a:07:01`, `0a58.0a2a.0701`},
		{`0a:58:0a:2a:07:01`, ``},
		{`10.42.7.1/24`, `10.42.7.1`},
		{`10.42.7.1/24`, ``},
		{`10.42.7.1/24`, `::ffff:10.42.7.1/120`},
		{`10.42.7.1/24`, `224.0.0.1/24`},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if text == good {
			t.Fatalf("%q is not in %s", change[0], good)
		}
		if b, err := parseBridge([]byte(text)); err == nil {
			t.Errorf("parseBridge(%s) = %+v; want an error", text, b)
		}
	}
}

func FuzzParseBridge(f *testing.F) {
	f.Add([]byte(`{"name":"cni0","mac":"0a:58:0a:2a:07:01","promisc":true,"gateways":["10.42.7.1/24"],"ports":{"veth1":true}}`))
	f.Add([]byte(`{"name":"cni0"}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := parseBridge(text)
		if err != nil {
			return
		}
		dir := t.TempDir()
		if err := SaveBridge(dir, b); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadBridge(dir); err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("after a round trip %+v, %v; want %+v", got, err, b)
		}
	})
}
