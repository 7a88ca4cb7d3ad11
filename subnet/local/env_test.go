// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func prefixes(s ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

var dualStack = Env{
	Networks:     prefixes("10.244.0.0/16"),
	Subnet:       netip.MustParsePrefix("10.244.3.1/24"),
	IPv6Networks: prefixes("fc00::/48"),
	IPv6Subnet:   netip.MustParsePrefix("fc00:0:0:3::1/64"),
	MTU:          1450,
	IPMasq:       true,
}

const dualStackText = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.3.1/24
FLANNEL_IPV6_NETWORK=fc00::/48
FLANNEL_IPV6_SUBNET=fc00:0:0:3::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`

func TestEnvBytes(t *testing.T) {
	t.Parallel()
	v4 := Env{Networks: dualStack.Networks, Subnet: dualStack.Subnet, MTU: 1450}
	v6 := Env{IPv6Networks: dualStack.IPv6Networks, IPv6Subnet: dualStack.IPv6Subnet, MTU: 1430}
	two := v4
	two.Networks = prefixes("10.244.0.0/16", "10.99.0.0/16")
	for _, tt := range []struct {
		name string
		env  Env
		want string
	}{
		{"both families", dualStack, dualStackText},
		{"IPv4", v4, "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"},
		{"IPv6", v6, "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00:0:0:3::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n"},
		{"two networks", two, "FLANNEL_NETWORK=10.244.0.0/16,10.99.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"},
	} {
		if got := string(tt.env.Bytes()); got != tt.want {
			t.Errorf("%s: Bytes = %q; want %q", tt.name, got, tt.want)
		}
		got, err := ParseEnv([]byte(tt.want))
		if err != nil || !reflect.DeepEqual(got, tt.env) {
			t.Errorf("%s: ParseEnv = %+v, %v; want %+v", tt.name, got, err, tt.env)
		}
	}
}

func TestParseEnvTolerates(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"quotes":           strings.ReplaceAll(strings.ReplaceAll(dualStackText, "=", `="`), "\n", "\"\n"),
		"carriage returns": strings.ReplaceAll(dualStackText, "\n", "\r\n"),
		"no last newline":  strings.TrimSuffix(dualStackText, "\n"),
		"unknown lines":    "# a comment\nFOO\nFLANNEL_FOO\nBAR=1=2\n\n" + dualStackText,
		"repeated":         "FLANNEL_MTU=1400\n" + dualStackText,
		"other order":      "FLANNEL_IPMASQ=true\nFLANNEL_MTU=1450\n" + dualStackText,
		"same network":     strings.Replace(dualStackText, "10.244.0.0/16", "10.244.0.0/16, 10.244.7.7/16", 1),
	} {
		got, err := ParseEnv([]byte(text))
		if err != nil || !reflect.DeepEqual(got, dualStack) {
			t.Errorf("%s: ParseEnv = %+v, %v; want %+v", name, got, err, dualStack)
		}
	}
}

func TestParseEnvRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "is missing FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ"},
		{"cut off", dualStackText[:len(dualStackText)-22], "is missing FLANNEL_IPMASQ"},
		{"cut off in a value", strings.TrimSuffix(dualStackText, "e\n"), `line 6: FLANNEL_IPMASQ: "tru": want true or false`},
		{"cut off in a key", strings.TrimSuffix(dualStackText, "=true\n"), "line 6: FLANNEL_IPMASQ has no value: want FLANNEL_IPMASQ=…"},
		{"key without =", "FLANNEL_MTU\n" + dualStackText, "line 1: FLANNEL_MTU has no value"},
		{"bad MTU", "FLANNEL_MTU=big\n" + dualStackText, `line 1: FLANNEL_MTU: "big": want a number of bytes`},
		{"tiny MTU", "FLANNEL_MTU=50\n" + dualStackText, "want a number of bytes from 68 to 65535"},
		{"bad network", "FLANNEL_NETWORK=10.0.0.0\n" + dualStackText, `line 1: FLANNEL_NETWORK: "10.0.0.0": want a prefix`},
		{"half a list", "FLANNEL_NETWORK=10.0.0.0/8,\n" + dualStackText, `FLANNEL_NETWORK: "": want a prefix`},
		{"wrong family", "FLANNEL_SUBNET=fd00::1/64\n" + dualStackText, "FLANNEL_SUBNET: fd00::1/64: of the wrong address family"},
		{"mapped", "FLANNEL_IPV6_SUBNET=::ffff:10.0.0.1/120\n" + dualStackText, "FLANNEL_IPV6_SUBNET"},
		{"IPMASQ in capitals", "FLANNEL_IPMASQ=TRUE\n" + dualStackText, "want true or false"},
		{"binary", dualStackText + "\x00\x01", "zero byte"},
		{"huge", strings.Repeat("#", maxEnv+1), "more than 64 KiB"},
	} {
		if _, err := ParseEnv([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: ParseEnv = %v; want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestEnvSubnets(t *testing.T) {
	t.Parallel()
	want := prefixes("10.244.3.0/24", "fc00:0:0:3::/64")
	if got := dualStack.Subnets(); !reflect.DeepEqual(got, want) {
		t.Errorf("Subnets = %v; want %v", got, want)
	}
}

func TestEnvFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "flannel", "subnet.env")
	if _, err := ReadEnv(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadEnv without a file = %v; want fs.ErrNotExist", err)
	}
	if err := WriteEnv(path, dualStack); err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil || first.Mode() != 0o644 {
		t.Errorf("file = %v, %v; want mode 0644", first, err)
	}
	got, err := ReadEnv(path)
	if err != nil || !reflect.DeepEqual(got, dualStack) {
		t.Errorf("ReadEnv = %+v, %v; want %+v", got, err, dualStack)
	}
	if err := WriteEnv(path, dualStack); err != nil {
		t.Fatal(err)
	}
	if second, err := os.Stat(path); err != nil || !os.SameFile(first, second) {
		t.Errorf("writing the same again replaced the file (%v); want it left alone", err)
	}
	other := dualStack
	other.MTU = 1400
	if err := WriteEnv(path, other); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadEnv(path); err != nil || got.MTU != 1400 {
		t.Errorf("ReadEnv after a change = %+v, %v; want MTU 1400", got, err)
	}
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(names) != 1 {
		t.Errorf("files = %v, %v; want subnet.env alone", names, err)
	}
	if err := os.WriteFile(path, []byte("FLANNEL_MTU\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadEnv(path); err == nil || !strings.Contains(err.Error(), path+": line 1") {
		t.Errorf("ReadEnv of a broken file = %v; want an error with file and line", err)
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "percale")
	if w, ok := ReadWaiting(dir); ok {
		t.Errorf("ReadWaiting without a file = %+v; want none", w)
	}
	if err := ClearWaiting(dir); err != nil {
		t.Errorf("ClearWaiting without a file = %v; want success", err)
	}
	if err := WriteWaiting(dir, "no /coreos.com/network/config in etcd"); err != nil {
		t.Fatal(err)
	}
	first, ok := ReadWaiting(dir)
	if !ok || first.Reason != "no /coreos.com/network/config in etcd" || first.Since.IsZero() {
		t.Errorf("ReadWaiting = %+v, %v; want the reason and when", first, ok)
	}
	if err := WriteWaiting(dir, "no /coreos.com/network/config in etcd"); err != nil {
		t.Fatal(err)
	}
	if again, _ := ReadWaiting(dir); again != first {
		t.Errorf("ReadWaiting after the same reason = %+v; want %+v", again, first)
	}
	if err := ClearWaiting(dir); err != nil {
		t.Fatal(err)
	}
	if w, ok := ReadWaiting(dir); ok {
		t.Errorf("ReadWaiting after ClearWaiting = %+v; want none", w)
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"plain", "plain"},
		{"two\nlines\t\x1b[31mred", "two lines [31mred"},
		{"bad \xff byte", "bad ? byte"},
		{strings.Repeat("é", 400), strings.Repeat("é", 248) + "…"},
		{"\x00\n", ""},
	} {
		if got := oneLine(tt.in); got != tt.want || len(got) > maxReason {
			t.Errorf("oneLine(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzParseEnv(f *testing.F) {
	f.Add([]byte(dualStackText))
	f.Add([]byte("FLANNEL_MTU"))
	f.Add([]byte("FLANNEL_NETWORK=10.0.0.0/8,10.1.0.0/16\nFLANNEL_SUBNET='10.0.1.1/24'\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"))
	f.Add([]byte("\x00\xff="))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEnv(b)
		if err != nil {
			return
		}
		again, err := ParseEnv(e.Bytes())
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("ParseEnv(%q) = %+v; printed and parsed again %+v, %v", b, e, again, err)
		}
	})
}
