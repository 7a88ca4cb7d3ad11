// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDefaultsAreFlannels(t *testing.T) {
	t.Parallel()
	s, err := Parse(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if s.NodeName != host {
		t.Errorf("NodeName = %q; want the host name %q", s.NodeName, host)
	}
	want := map[string]string{
		"etcd-endpoints":               "http://127.0.0.1:4001,http://127.0.0.1:2379",
		"etcd-prefix":                  "/coreos.com/network",
		"subnet-file":                  "/run/flannel/subnet.env",
		"subnet-lease-renew-margin":    "60",
		"sweep-addresses":              "true",
		"cni-conf-file":                "/etc/percale/10-percale.conflist",
		"cni-conf-exclusive":           "false",
		"ip-masq":                      "false",
		"ip-masq-fully-random-disable": "false",
		"kube-subnet-mgr":              "false",
		"kube-annotation-prefix":       "flannel.alpha.coreos.com",
		"net-config-path":              "/etc/kube-flannel/net-conf.json",
		"set-node-network-unavailable": "true",
		"healthz-ip":                   "0.0.0.0",
		"healthz-port":                 "0",
		"iptables-resync":              "5",
		"iptables-forward-rules":       "true",
		"ip-blackhole-route":           "false",
		"run-dir":                      "/run/percale",
		"state-dir":                    "/var/lib/percale",
		"sysctl-dir":                   "/proc/sys",
		"node-name":                    host,
		"v":                            "0",
		"version":                      "false",
		"cleanup":                      "false",
		"logtostderr":                  "false",
		"alsologtostderr":              "false",
	}
	for _, o := range options(&s) {
		if o.show() != want[o.name] {
			t.Errorf("--%s is %q by default; want %q", o.name, o.show(), want[o.name])
		}
	}
	if s.RenewMargin != time.Hour || s.IptablesResync != 5*time.Second || s.Debug() {
		t.Errorf("margin %v, resync %v, debug %v; want 1h, 5s, false", s.RenewMargin, s.IptablesResync, s.Debug())
	}
}

// changed runs Parse and returns what differs from the defaults.
func changed(t *testing.T, args, environ []string) map[string]string {
	t.Helper()
	s, err := Parse(append([]string{"--node-name=n1"}, args...), environ)
	if err != nil {
		t.Fatalf("Parse(%q, %q): %v", args, environ, err)
	}
	got := make(map[string]string)
	for _, a := range s.Changed() {
		got[a.Key] = a.Value.String()
	}
	delete(got, "node-name")
	return got
}

func TestParseTakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args, environ []string
		want          string // as fmt prints the map of changes
	}{
		{nil, nil, "map[]"},
		{[]string{"-ip-masq", "--healthz-port=8081"}, nil, "map[healthz-port:8081 ip-masq:true]"},
		{[]string{"-healthz-port", "8081", "--ip-masq=1"}, nil, "map[healthz-port:8081 ip-masq:true]"},
		{[]string{"--iptables-forward-rules=false"}, nil, "map[iptables-forward-rules:false]"},
		{[]string{"--iface=eth1", "--iface", "192.168.9.1"}, nil, "map[iface:eth1,192.168.9.1]"},
		{[]string{"--iface-regex=^eth", "--iface-regex=^en"}, nil, "map[iface-regex:^eth,^en]"},
		{[]string{"--healthz-port=1", "--healthz-port=2"}, nil, "map[healthz-port:2]"},
		{[]string{"--etcd-endpoints= https://a:2379/ , http://b,"}, nil, "map[etcd-endpoints:https://a:2379,http://b]"},
		{[]string{"--etcd-endpoints=http://[fd00::1]:2379"}, nil, "map[etcd-endpoints:http://[fd00::1]:2379]"},
		{[]string{"--etcd-prefix=/a/b/"}, nil, "map[etcd-prefix:/a/b]"},
		{[]string{"--etcd-prefix=a"}, nil, "map[etcd-prefix:a]"},
		{[]string{"--public-ip=203.0.113.7", "--public-ipv6=2001:db8::7"}, nil, "map[public-ip:203.0.113.7 public-ipv6:2001:db8::7]"},
		{[]string{"--public-ip=::ffff:203.0.113.7"}, nil, "map[public-ip:203.0.113.7]"},
		{[]string{"--public-ip="}, nil, "map[]"},
		{[]string{"--iface-can-reach=fd00::1"}, nil, "map[iface-can-reach:fd00::1]"},
		{[]string{"--run-dir=/run/a/../b/", "--state-dir=/s"}, nil, "map[run-dir:/run/b state-dir:/s]"},
		{[]string{"--subnet-lease-renew-margin=1439", "--iptables-resync=1"}, nil, "map[iptables-resync:1 subnet-lease-renew-margin:1439]"},
		{[]string{"--etcd-cafile=/ca", "--etcd-endpoints=HTTPS://a"}, nil, "map[etcd-cafile:/ca etcd-endpoints:https://a]"},
		{nil, []string{"FLANNELD_ETCD_CAFILE=/ca", "FLANNELD_ETCD_ENDPOINTS=https://a"}, "map[etcd-cafile:/ca etcd-endpoints:https://a]"},
		{[]string{"--etcd-cafile=", "--etcd-endpoints=http://a"}, nil, "map[etcd-endpoints:http://a]"},
		{[]string{"--etcd-endpoints=http://a", "--etcd-username=u", "--etcd-password=p"}, nil, "map[etcd-endpoints:http://a etcd-password:(hidden) etcd-username:u]"},
		{[]string{"--etcd-username=u", "--etcd-password=p"}, nil, "map[etcd-password:(hidden) etcd-username:u]"},
		{[]string{"-v=2", "--vmodule=x=3", "--log_backtrace_at=a.go:1", "--logtostderr"}, nil, "map[v:2]"},
		{[]string{"--version=false"}, nil, "map[]"},

		{nil, []string{"FLANNELD_IP_MASQ=true"}, "map[ip-masq:true]"},
		{nil, []string{"FLANNELD_V=1"}, "map[v:1]"},
		{nil, []string{"FLANNELD_V=1", "PERCALED_V=2"}, "map[v:2]"},
		{nil, []string{"PERCALED_V=", "FLANNELD_V=3"}, "map[v:3]"},
		{[]string{"--v=4"}, []string{"PERCALED_V=2"}, "map[v:4]"},
		{[]string{"--v=4"}, []string{"PERCALED_V=bad"}, "map[v:4]"}, // not looked at
		{nil, []string{"FLANNELD_IFACE=eth1"}, "map[iface:eth1]"},
		{nil, []string{"FLANNELD_IFACE=eth1,eth2"}, "map[iface:eth1,eth2]"}, // one name with a comma, as flannel
		{[]string{"--iface=eth0"}, []string{"FLANNELD_IFACE=eth1"}, "map[iface:eth0]"},
		{nil, []string{"PERCALED_VERSION=1.2", "FLANNELD_VERSION=v0.28", "PERCALED_PORT=tcp://10.0.0.1:80", "junk"}, "map[]"},
	} {
		if got := fmt.Sprint(changed(t, tt.args, tt.environ)); got != tt.want {
			t.Errorf("Parse(%q, %q) = %s; want %s", tt.args, tt.environ, got, tt.want)
		}
	}
}

func TestRepeatableVariableIsOneValue(t *testing.T) {
	t.Parallel()
	s, err := Parse(nil, []string{"FLANNELD_IFACE=eth1,eth2"})
	if err != nil || !slices.Equal(s.Ifaces, []string{"eth1,eth2"}) {
		t.Errorf("Ifaces = %q, %v; want one value", s.Ifaces, err)
	}
}

func TestNodeName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args, environ []string
		want          string
	}{
		{nil, []string{"NODE_NAME=a"}, "a"},
		{nil, []string{"NODE_NAME=a", "FLANNELD_NODE_NAME=b"}, "b"},
		{nil, []string{"NODE_NAME=a", "FLANNELD_NODE_NAME=b", "PERCALED_NODE_NAME=c"}, "c"},
		{[]string{"--node-name=d"}, []string{"PERCALED_NODE_NAME=c"}, "d"},
	} {
		if s, err := Parse(tt.args, tt.environ); err != nil || s.NodeName != tt.want {
			t.Errorf("Parse(%q, %q).NodeName = %q, %v; want %q", tt.args, tt.environ, s.NodeName, err, tt.want)
		}
	}
}

func TestParseAskedForText(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"-h", "--help", "-help"} {
		if _, err := Parse([]string{"--ip-masq", arg}, nil); !errors.Is(err, ErrHelp) {
			t.Errorf("Parse(%q) = %v; want ErrHelp", arg, err)
		}
	}
	for _, args := range [][]string{{"-version"}, {"--version", "--healthz-port=x"}} {
		if _, err := Parse(args, []string{"FLANNELD_V=x"}); !errors.Is(err, ErrVersion) {
			t.Errorf("Parse(%q) = %v; want ErrVersion", args, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args, environ []string
		want          string
	}{
		{[]string{"--healthz-prot=1"}, nil, "unknown flag --healthz-prot: did you mean --healthz-port?"},
		{[]string{"-Iface", "x"}, nil, "unknown flag --Iface: did you mean --iface?"},
		{[]string{"--etcd-pasword=s3cret"}, nil, "unknown flag --etcd-pasword: did you mean --etcd-password?"},
		{[]string{"--zzzzzzzz"}, nil, `unknown flag "--zzzzzzzz": percaled --help lists all flags`},
		{[]string{"--ip-masq", "---x"}, nil, `argument "---x": want --flag=value`},
		{[]string{"-=1"}, nil, `argument "-=1": want --flag=value`},
		{[]string{"--healthz-port"}, nil, "--healthz-port: want a value, as in --healthz-port=PORT"},
		{[]string{"--ip-masq", "false"}, nil, `unexpected argument "false": want flags only, a switch's value after '=' as in --ip-masq=true`},
		{[]string{"--ip-masq=yes"}, nil, `--ip-masq "yes": want true or false`},
		{[]string{"--healthz-port=65536"}, nil, `--healthz-port "65536": want a whole number from 0 to 65535`},
		{[]string{"--healthz-port="}, nil, `--healthz-port "": want a whole number from 0 to 65535`},
		{[]string{"--healthz-ip=host"}, nil, `--healthz-ip "host": want an IP address of this host, or 0.0.0.0 or :: for all`},
		{[]string{"--subnet-lease-renew-margin=0"}, nil, `--subnet-lease-renew-margin "0": want a whole number from 1 to 1439`},
		{[]string{"--subnet-lease-renew-margin=1440"}, nil, `--subnet-lease-renew-margin "1440": want a whole number from 1 to 1439`},
		{[]string{"--iptables-resync=0"}, nil, `--iptables-resync "0": want a whole number, 1 or more`},
		{[]string{"--iptables-resync=-5"}, nil, `--iptables-resync "-5": want a whole number, 1 or more`},
		{nil, []string{"FLANNELD_IPTABLES_RESYNC=x"}, `FLANNELD_IPTABLES_RESYNC "x": want a whole number, 1 or more`},
		{nil, []string{"PERCALED_IP_MASQ=ja", "FLANNELD_IP_MASQ=true"}, `PERCALED_IP_MASQ "ja": want true or false`},
		{nil, []string{"NODE_NAME=a b"}, `NODE_NAME "a b": want at most 253 letters, digits, '-', '_' and '.', the first and last a letter or digit`},
		{[]string{"--node-name=" + strings.Repeat("n", 254)}, nil, `--node-name "` + strings.Repeat("n", 60) +
			`": want at most 253 letters, digits, '-', '_' and '.', the first and last a letter or digit`},
		{[]string{"--public-ip=fd00::1"}, nil, `--public-ip "fd00::1": want the IPv4 address of a host`},
		{[]string{"--public-ip=127.0.0.1"}, nil, `--public-ip "127.0.0.1": want the IPv4 address of a host`},
		{[]string{"--public-ipv6=10.0.0.1"}, nil, `--public-ipv6 "10.0.0.1": want the IPv6 address of a host`},
		{[]string{"--public-ipv6=fe80::1%eth0"}, nil, `--public-ipv6 "fe80::1%eth0": want the IPv6 address of a host`},
		{[]string{"--iface-can-reach=x"}, nil, `--iface-can-reach "x": want the IP address of a host`},
		{[]string{"--iface="}, nil, `--iface "": want an interface name or an IP address`},
		{[]string{"--iface-regex=("}, nil, "--iface-regex \"(\": want a regular expression such as ^eth or ^192\\.168\\. (error parsing regexp: missing closing ): `(`)"},
		{[]string{"--subnet-file=subnet.env"}, nil, `--subnet-file "subnet.env": want an absolute path`},
		{[]string{"--run-dir="}, nil, `--run-dir "": want an absolute path`},
		{[]string{"--install-cni=bin"}, nil, `--install-cni "bin": want an absolute path`},
		{[]string{"--cni-conf-file="}, nil, `--cni-conf-file "": want an absolute path`},
		{[]string{"--etcd-prefix=/"}, nil, `--etcd-prefix "/": want a key prefix such as /coreos.com/network`},
		{[]string{"--etcd-certfile=/c", "--etcd-endpoints=https://a"}, nil, "--etcd-certfile and --etcd-keyfile: want both or none"},
		{[]string{"--etcd-keyfile=/k", "--etcd-endpoints=https://a"}, nil, "--etcd-certfile and --etcd-keyfile: want both or none"},
		{[]string{"--etcd-cafile=/ca"}, nil,
			"--etcd-cafile needs https:// endpoints: http://127.0.0.1:4001 is not encrypted: write https:// in --etcd-endpoints, or leave the TLS files out"},
		{[]string{"--etcd-cafile=/ca", "--etcd-endpoints=https://a,http://b:1", "--etcd-certfile=/c", "--etcd-keyfile=/k"}, nil,
			"--etcd-certfile, --etcd-keyfile, --etcd-cafile need https:// endpoints: http://b:1 is not encrypted: write https:// in --etcd-endpoints, or leave the TLS files out"},
		{[]string{"--etcd-cafile=/ca", "--etcd-endpoints=https://u:s3cret@a"}, nil,
			"--etcd-endpoints: want URLs without user and password: these go into --etcd-username and --etcd-password"},
		{[]string{"--etcd-password=s3cret"}, nil, "--etcd-username and --etcd-password: want both or none"},
		{[]string{"--etcd-endpoints=,"}, nil, "--etcd-endpoints: want a comma list of URLs such as http://127.0.0.1:2379"},
		{[]string{"--etcd-endpoints=127.0.0.1:2379"}, nil,
			"--etcd-endpoints: want a comma list of URLs such as http://127.0.0.1:2379 or https://etcd.example:2379"},
		{[]string{"--etcd-endpoints=https://u:s3cret@a"}, nil,
			"--etcd-endpoints: want URLs without user and password: these go into --etcd-username and --etcd-password"},
		{[]string{"--etcd-endpoints=https://a:99999"}, nil, "--etcd-endpoints: want URLs with a port from 1 to 65535"},
		{[]string{"--etcd-endpoints=https://a/v3"}, nil, "--etcd-endpoints: want URLs that end after the port: where the keys are is set by --etcd-prefix"},
		{[]string{"--kube-api-url=a:6443"}, nil, "--kube-api-url: want a URL such as https://192.0.2.1:6443"},
		{[]string{"--kube-api-url=https://u:s3cret@a"}, nil, "--kube-api-url: want no credentials in it: they belong in --kubeconfig-file"},
		{[]string{"--kube-annotation-prefix=a/b/c"}, nil,
			`--kube-annotation-prefix "a/b/c": want a domain such as flannel.alpha.coreos.com, or example.com/name-`},
		{[]string{"--kube-annotation-prefix=Example.com"}, nil,
			`--kube-annotation-prefix "Example.com": want a domain such as flannel.alpha.coreos.com, or example.com/name-`},
		{[]string{"--net-config-path="}, nil, `--net-config-path "": want an absolute path`},
		{[]string{"--healthz-port=x", "--v=-1"}, nil,
			`--healthz-port "x": want a whole number from 0 to 65535; --v "-1": want a whole number, 0 or more`},
	} {
		_, err := Parse(tt.args, tt.environ)
		if err == nil || err.Error() != tt.want {
			t.Errorf("Parse(%q, %q)\n got %v\nwant %s", tt.args, tt.environ, err, tt.want)
		}
	}
}

func TestNoPrintingRevealsThePassword(t *testing.T) {
	t.Parallel()
	const password = "hunter2-s3cret"
	s, err := Parse([]string{"--etcd-username=u", "--etcd-password=" + password}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.EtcdPassword.Reveal(); got != password {
		t.Fatalf("Reveal() = %q; want %q", got, password)
	}
	inner := struct{ s Settings }{s} // fmt calls no methods below an unexported field
	var out bytes.Buffer
	for _, v := range []any{s, &s, s.EtcdPassword, &s.EtcdPassword, inner, []Secret{s.EtcdPassword}, s.Changed()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("start", "settings", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("start", "settings", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, secret := range []string{password, fmt.Sprintf("%x", password)} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("printing the settings shows the password:\n%s", &out)
		}
	}
	if !strings.Contains(out.String(), hidden) {
		t.Error("nothing shows that there is a password")
	}
}

func TestStartLineListsWhatDiffers(t *testing.T) {
	t.Parallel()
	s, err := Parse([]string{"--node-name=n1", "--ip-masq", "--public-ip=203.0.113.7"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("start", "settings", s)
	if want := "settings.public-ip=203.0.113.7 settings.node-name=n1 settings.ip-masq=true\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("line = %q; want it to end in %q", out.String(), want)
	}
	if s.PublicIP != netip.MustParseAddr("203.0.113.7") {
		t.Errorf("PublicIP = %v", s.PublicIP)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	text := Usage()
	for line := range strings.Lines(text) {
		if n := len(strings.TrimRight(line, "\n")); n > 100 || strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
			t.Errorf("line of %d columns, want at most 100 and no blank at its end: %q", n, line)
		}
	}
	d := defaults()
	for _, o := range options(&d) {
		if !strings.Contains(text, "  --"+o.name) {
			t.Errorf("usage has no --%s", o.name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, args := range []string{"", "--iface=a\n--v=2", "-h", "---", "--=\n-", "--etcd-endpoints=http://%zz", "--iface-regex=a(b", "--v"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		args := strings.Split(lines, "\n")
		s, err := Parse(args, nil)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || err.Error() == "" {
				t.Errorf("Parse(%q) = %q; want one line", args, err)
			}
			return
		}
		// What was taken can be given again, and is the same.
		var again []string
		for _, a := range s.Changed() {
			if a.Key == "iface" || a.Key == "iface-regex" || a.Key == "etcd-password" || a.Key == "etcd-username" {
				continue
			}
			again = append(again, "--"+a.Key+"="+a.Value.String())
		}
		s2, err := Parse(again, nil)
		if err != nil {
			t.Fatalf("Parse(%q) of what Parse(%q) gave: %v", again, args, err)
		}
		s.Ifaces, s.IfaceRegexes, s.EtcdUsername, s.EtcdPassword = nil, nil, "", Secret{}
		if a, b := fmt.Sprint(s.Changed()), fmt.Sprint(s2.Changed()); a != b {
			t.Errorf("given again: %s; want %s", b, a)
		}
	})
}

// In Kubernetes the host may be called anything: the pod tells its node.
func TestNodeOfPod(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	pod := []string{"POD_NAME=percale-x", "POD_NAMESPACE=kube-percale"}
	for _, tt := range []struct {
		args, environ []string
		want          string
	}{
		{[]string{"--kube-subnet-mgr"}, pod, ""},
		{[]string{"--kube-subnet-mgr"}, append([]string{"NODE_NAME=n7"}, pod...), "n7"},
		{[]string{"--kube-subnet-mgr", "--node-name=n8"}, pod, "n8"},
		{[]string{"--kube-subnet-mgr"}, []string{"POD_NAME=percale-x", "POD_NAMESPACE="}, host},
		{nil, pod, host},
	} {
		s, err := Parse(tt.args, tt.environ)
		if err != nil || s.NodeName != tt.want {
			t.Errorf("Parse(%q, %q): node %q, %v; want %q", tt.args, tt.environ, s.NodeName, err, tt.want)
		}
	}
}
