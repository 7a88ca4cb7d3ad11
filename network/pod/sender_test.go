// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/percale-net/percale/network"
)

func TestSenderOfAttachment(t *testing.T) {
	a := Attachment{Container: "c", Ifname: "eth0", Addresses: []netip.Prefix{
		netip.MustParsePrefix("10.244.1.5/24"), netip.MustParsePrefix("fd00::5/64"),
	}}
	s := a.Sender()
	if want := "percale-from: 0a:58:0a:f4:01:05 10.244.1.5 fd00::5"; s.Alias() != want {
		t.Errorf("Alias = %q; want %q", s.Alias(), want)
	}
	if port, _ := HostEnd("c", "eth0"); s.Port != port {
		t.Errorf("Port = %q; want %q", s.Port, port)
	}
	a.MAC = network.MAC{2, 0, 0, 0, 0, 9}
	if got := a.Sender().MAC; got != a.MAC {
		t.Errorf("MAC = %v; want the given one", got)
	}
	if got, want := LinkLocal(s.MAC), netip.MustParseAddr("fe80::858:aff:fef4:105"); got != want {
		t.Errorf("LinkLocal = %v; want %v", got, want)
	}
}

func TestParseSender(t *testing.T) {
	for _, tt := range []struct {
		alias    string
		ok, fail bool
	}{
		{"", false, false},
		{"uplink of rack 7", false, false},
		{"percale-from", false, false},
		{"percale-from: 0a:58:0a:f4:01:05", true, false},
		{"percale-from: 0a:58:0a:f4:01:05 10.244.1.5", true, false},
		{"percale-cni pods c eth0 percale-from: 0a:58:0a:f4:01:05 10.244.1.5", true, false},
		{"percale-from:", false, true},
		{"percale-from: 10.244.1.5", false, true},
		{"percale-from: 0a:58:0a:f4:01:05 10.244.1.5/24", false, true},
		{"percale-from: 0a:58:0a:f4:01:05 fe80::1%eth0", false, true},
		{"percale-from: 0a:58:0a:f4:01:05 ::ffff:10.0.0.1", false, true},
	} {
		s, ok, err := ParseSender("veth1", tt.alias)
		if ok != tt.ok || (err != nil) != tt.fail {
			t.Errorf("ParseSender(%q) = %v, %v, %v; want %v, error %v", tt.alias, s, ok, err, tt.ok, tt.fail)
		}
	}
}

func FuzzParseSender(f *testing.F) {
	f.Add("percale-from: 0a:58:0a:f4:01:05 10.244.1.5 fd00::5")
	f.Fuzz(func(t *testing.T, alias string) {
		s, ok, err := ParseSender("veth1", alias)
		if !ok || err != nil {
			return
		}
		again, ok, err := ParseSender("veth1", s.Alias())
		if err != nil || !ok || !reflect.DeepEqual(again, s) {
			t.Errorf("ParseSender(%q) = %v; again %v, %v, %v", alias, s, again, ok, err)
		}
	})
}

func TestAliasFits(t *testing.T) {
	s := Sender{MAC: network.MAC{2, 0xff, 0xff, 0xff, 0xff, 0xff}}
	long := netip.MustParseAddr("fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1111")
	for range 2 { // one per family, whatever a configuration asks for
		s.Addrs = append(s.Addrs, long)
	}
	if n := len(s.Alias()); n > MaxAlias || !strings.HasPrefix(s.Alias(), aliasMark) {
		t.Errorf("alias has %d bytes; want at most %d", n, MaxAlias)
	}
}
