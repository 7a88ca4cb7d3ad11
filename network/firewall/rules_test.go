// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"flag"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func dual() Config {
	return Config{
		Families: []Pods{
			{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.244.1.0/24")},
			{netip.MustParsePrefix("fd00:10:244::/56"), netip.MustParsePrefix("fd00:10:244:1::/64")},
		},
		Masquerade: true, RandomFully: true, Forward: true, TunnelPort: 8472,
	}
}

func TestVerdict(t *testing.T) {
	// One address of each kind per family: a pod of this node, a pod elsewhere,
	// two hosts, a group.
	type addrs struct{ here, here2, there, there2, out, out2, group string }
	families := map[string]addrs{
		"IPv4": {"10.244.1.5", "10.244.1.6", "10.244.2.5", "10.244.3.5", "192.0.2.7", "198.51.100.1", "239.1.2.3"},
		"IPv6": {"fd00:10:244:1::5", "fd00:10:244:1::6", "fd00:10:244:2::5", "fd00:10:244:3::5", "2001:db8::7", "2001:db8:1::1", "ff0e::1:3"},
	}
	for name, a := range families {
		for _, tc := range []struct {
			what     string
			hook     Hook
			src, dst string
			mark     uint32
			port     uint16
			want     Verdict
		}{
			{"kube-proxy's mark", Postrouting, a.here, a.out, 0x4000, 0, Pass},
			{"kube-proxy's mark among others", Postrouting, a.here, a.out, 0xffff, 0, Pass},
			{"another mark", Postrouting, a.here, a.out, 0x8000, 0, Masquerade},
			{"pod to pod, both here", Postrouting, a.here, a.here2, 0, 0, Pass},
			{"pod here to pod elsewhere", Postrouting, a.here, a.there, 0, 0, Pass},
			{"pod elsewhere to pod here", Postrouting, a.there, a.here, 0, 0, Pass},
			{"outside to pod here", Postrouting, a.out, a.here, 0, 0, Pass},
			{"pod here to outside", Postrouting, a.here, a.out, 0, 0, Masquerade},
			{"pod elsewhere to outside, by way of us", Postrouting, a.there, a.out, 0, 0, Masquerade},
			{"pod elsewhere to pod elsewhere", Postrouting, a.there, a.there2, 0, 0, Masquerade},
			{"pod here to group", Postrouting, a.here, a.group, 0, 0, Pass},
			{"outside to pod elsewhere", Postrouting, a.out, a.there, 0, 0, Masquerade},
			{"outside to outside", Postrouting, a.out, a.out2, 0, 0, Pass},
			{"forward from pod", Forward, a.here, a.out, 0, 0, Accept},
			{"forward to pod", Forward, a.out, a.here, 0, 0, Accept},
			{"forward of others", Forward, a.out, a.out2, 0, 0, Pass},
			{"tunnel packet comes", Prerouting, a.out, a.out2, 0, 8472, Untrack},
			{"tunnel packet leaves", Output, a.out, a.out2, 0, 8472, Untrack},
			{"other packet comes", Prerouting, a.out, a.out2, 0, 8473, Pass},
			{"not UDP", Output, a.out, a.out2, 0, 0, Pass},
		} {
			p := Packet{Src: netip.MustParseAddr(tc.src), Dst: netip.MustParseAddr(tc.dst), Mark: tc.mark, UDPPort: tc.port}
			if got := Rules(dual()).Verdict(tc.hook, p); got != tc.want {
				t.Errorf("%s, %s: %v at %v = %v; want %v", name, tc.what, p, tc.hook, got, tc.want)
			}
		}
	}
}

func TestOtherFamilyIsNotOutside(t *testing.T) {
	c := dual()
	c.Families = c.Families[:1]
	p := Packet{Src: netip.MustParseAddr("fd00:10:244:1::5"), Dst: netip.MustParseAddr("2001:db8::7"), UDPPort: 8472}
	for _, h := range []Hook{Prerouting, Output, Forward, Postrouting} {
		if got := Rules(c).Verdict(h, p); got != Pass {
			t.Errorf("IPv6 packet at %v under IPv4 rules = %v; want %v", h, got, Pass)
		}
	}
}

func TestGolden(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"dual":      func(*Config) {},
		"ipv4":      func(c *Config) { c.Families = c.Families[:1]; c.RandomFully = false },
		"no-subnet": func(c *Config) { c.Families[0].Subnet = netip.Prefix{} },
	} {
		c := dual()
		change(&c)
		got, file := Rules(c).String(), "testdata/"+name+".golden"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || got != string(want) {
			t.Errorf("%s: rules =\n%s\n%v; want\n%s", name, got, err, want)
		}
	}
}

func TestSameConfigSameRules(t *testing.T) {
	c, d := dual(), dual()
	slices.Reverse(d.Families)
	d.Families = append(d.Families, Pods{}, d.Families[0])
	d.Families[0].Network = netip.MustParsePrefix("fd00:10:244::9/56") // not masked
	a, b := Rules(c), Rules(d)
	if !reflect.DeepEqual(a, b) || a.String() != b.String() {
		t.Errorf("rules of shuffled families =\n%v; want\n%v", b, a)
	}
}

func TestEachPartCanBeOff(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*Config)
		want   []Hook
	}{
		"all on":       {func(*Config) {}, []Hook{Prerouting, Output, Forward, Postrouting}},
		"no tunnel":    {func(c *Config) { c.TunnelPort = 0 }, []Hook{Forward, Postrouting}},
		"no forward":   {func(c *Config) { c.Forward = false }, []Hook{Prerouting, Output, Postrouting}},
		"no masq":      {func(c *Config) { c.Masquerade = false }, []Hook{Prerouting, Output, Forward}},
		"no families":  {func(c *Config) { c.Families = nil }, nil},
		"families off": {func(c *Config) { c.Families = []Pods{{}, {}} }, nil},
		"nothing":      {func(c *Config) { *c = Config{Families: c.Families} }, nil},
	} {
		c := dual()
		tc.change(&c)
		r := Rules(c)
		var got []Hook
		for _, ch := range r.Chains {
			got = append(got, ch.Hook)
			if len(ch.Rules) == 0 {
				t.Errorf("%s: chain %v is empty; want no such chain", what, ch.Hook)
			}
		}
		if !slices.Equal(got, tc.want) || r.IsEmpty() != (tc.want == nil) {
			t.Errorf("%s: hooks = %v, empty %v; want %v", what, got, r.IsEmpty(), tc.want)
		}
	}
}

func TestFamilies(t *testing.T) {
	c := dual()
	if got, want := Rules(c).Families(), []Family{IPv4, IPv6}; !slices.Equal(got, want) {
		t.Errorf("families = %v; want %v", got, want)
	}
	c.Families = c.Families[1:]
	if got, want := Rules(c).Families(), []Family{IPv6}; !slices.Equal(got, want) {
		t.Errorf("families = %v; want %v", got, want)
	}
}

func TestWithoutRandom(t *testing.T) {
	c := dual()
	r := Rules(c)
	c.RandomFully = false
	if got := r.WithoutRandom(); !reflect.DeepEqual(got, Rules(c)) {
		t.Errorf("rules without random =\n%v; want those of a config without it\n%v", got, Rules(c))
	}
	if !reflect.DeepEqual(r, Rules(dual())) {
		t.Errorf("WithoutRandom changed its receiver to\n%v", r)
	}
}
