// SPDX-License-Identifier: Apache-2.0

package config

import (
	"math"
	"time"
)

// An option is one flag: how it is called, what it is for, where it goes.
type option struct {
	value
	group string // heading in the usage
	name  string
	arg   string // what the value is, in capitals; "" for a toggle
	help  string
}

// options returns every flag of percaled, grouped, each bound to its field of s.
// A field that may be given more than once gains a value at each set.
func options(s *Settings) []option {
	var all []option
	for _, g := range []struct {
		name string
		list []option
	}{
		{"Leases in etcd", etcdOptions(s)},
		{"Uplink", uplinkOptions(s)},
		{"Node", nodeOptions(s)},
		{"Firewall", firewallOptions(s)},
		{"Health and log", watchOptions(s)},
		{"Leases on Kubernetes Nodes", kubeOptions(s)},
		{"Accepted for flannel's sake, of no effect", idleOptions()},
	} {
		for _, o := range g.list {
			o.group = g.name
			all = append(all, o)
		}
	}
	return all
}

func etcdOptions(s *Settings) []option {
	return []option{
		{value: endpoints(&s.EtcdEndpoints), name: "etcd-endpoints", arg: "URLS", help: "comma list of etcd servers"},
		{value: prefix(&s.EtcdPrefix), name: "etcd-prefix", arg: "KEY", help: "where net-conf and leases are"},
		{value: file(&s.EtcdCertFile), name: "etcd-certfile", arg: "FILE", help: "our client certificate"},
		{value: file(&s.EtcdKeyFile), name: "etcd-keyfile", arg: "FILE", help: "the key of our client certificate"},
		{value: file(&s.EtcdCAFile), name: "etcd-cafile", arg: "FILE", help: "who signs the servers' certificates; works alone, too"},
		{value: plain(&s.EtcdUsername), name: "etcd-username", arg: "NAME", help: "etcd user"},
		{value: secret(&s.EtcdPassword), name: "etcd-password", arg: "TEXT", help: "etcd password; better in PERCALED_ETCD_PASSWORD"},
	}
}

func uplinkOptions(s *Settings) []option {
	return []option{
		{value: names(&s.Ifaces), name: "iface", arg: "NAME|IP", help: "take this interface; may be repeated, the first usable wins"},
		{value: patterns(&s.IfaceRegexes), name: "iface-regex", arg: "REGEX", help: "take what matches, addresses first; may be repeated"},
		{value: address(&s.IfaceCanReach, "IP"), name: "iface-can-reach", arg: "IP", help: "take the kernel's way to this address; after --iface-regex"},
		{value: address(&s.PublicIP, "IPv4"), name: "public-ip", arg: "IP", help: "IPv4 address that peers send to"},
		{value: address(&s.PublicIPv6, "IPv6"), name: "public-ipv6", arg: "IP", help: "IPv6 address that peers send to"},
	}
}

func nodeOptions(s *Settings) []option {
	return []option{
		{value: nodeName(&s.NodeName), name: "node-name", arg: "NAME", help: "this node's name (default: NODE_NAME, else the host name)"},
		{value: needed(file(&s.SubnetFile)), name: "subnet-file", arg: "FILE", help: "file for the CNI plugin, rewritten at each change"},
		{value: needed(file(&s.RunDir)), name: "run-dir", arg: "DIR", help: "status socket and notes for the CNI plugin"},
		{value: needed(file(&s.StateDir)), name: "state-dir", arg: "DIR", help: "for what must outlive a reboot: this node's lease"},
		{value: needed(file(&s.SysctlDir)), name: "sysctl-dir", arg: "DIR", help: "where settings of /proc/sys are written, if it is read-only, as in a container"},
		{value: span(&s.RenewMargin, time.Minute, 1439), name: "subnet-lease-renew-margin", arg: "MINUTES", help: "renew this long before the lease ends"},
		{value: file(&s.CNIConfDir), name: "cni-conf-dir", arg: "DIR", help: "keep a CNI configuration in this directory; none: do not"},
		{value: needed(file(&s.CNIConfFile)), name: "cni-conf-file", arg: "FILE", help: "what --cni-conf-dir gets"},
		{value: boolean(&s.CNIConfExclusive), name: "cni-conf-exclusive", help: "rename CNI configurations that come before ours"},
		{value: boolean(&s.SweepAddresses), name: "sweep-addresses", help: "free pod addresses of sandboxes that no longer exist"},
	}
}

func firewallOptions(s *Settings) []option {
	return []option{
		{value: boolean(&s.IPMasq), name: "ip-masq", help: "masquerade what pods send out of the pod network"},
		{value: boolean(&s.IPMasqFullyRandomDisable), name: "ip-masq-fully-random-disable", help: "keep source ports where possible"},
		{value: boolean(&s.IptablesForwardRules), name: "iptables-forward-rules", help: "accept forwarded packets of pods"},
		{value: span(&s.IptablesResync, time.Second, math.MaxInt32), name: "iptables-resync", arg: "SECONDS", help: "look at iptables rules this often"},
		{value: boolean(&s.IPBlackholeRoute), name: "ip-blackhole-route", help: "drop packets to pods of this node that do not exist"},
	}
}

func watchOptions(s *Settings) []option {
	return []option{
		{value: listen(&s.HealthzIP), name: "healthz-ip", arg: "IP", help: "where /healthz and /readyz are served"},
		{value: number(&s.HealthzPort, 0, 65535), name: "healthz-port", arg: "PORT", help: "their TCP port; 0: not served"},
		{value: number(&s.Verbosity, 0, math.MaxInt32), name: "v", arg: "LEVEL", help: "1 and above: log debug messages"},
		{value: boolean(&s.Cleanup), name: "cleanup", help: "remove from this node what percaled made, and exit"},
		{value: file(&s.InstallCNI), name: "install-cni", arg: "DIR", help: "copy the CNI plugins that stand beside percaled there, and exit"},
		{value: boolean(new(bool)), name: "version", help: "print the version and exit"},
	}
}

func kubeOptions(s *Settings) []option {
	return []option{
		{value: boolean(&s.KubeSubnetMgr), name: "kube-subnet-mgr", help: "keep leases on Nodes instead of in etcd"},
		{value: apiURL(&s.KubeAPIURL), name: "kube-api-url", arg: "URL", help: "API server (default: the kubeconfig's, else the pod's)"},
		{value: file(&s.KubeconfigFile), name: "kubeconfig-file", arg: "FILE", help: "how to reach the API server (default: as a pod does)"},
		{value: annotationPrefix(&s.KubeAnnotationPrefix), name: "kube-annotation-prefix", arg: "NAME", help: "prefix of Node annotations"},
		{value: needed(file(&s.NetConfigPath)), name: "net-config-path", arg: "FILE", help: "net-conf; in etcd mode it is <etcd-prefix>/config"},
		{value: boolean(&s.SetNodeNetworkUnavailable), name: "set-node-network-unavailable", help: "set the Node's condition"},
	}
}

// idleOptions are flags of flannel's log library. Ours writes to standard error
// alone and knows two levels.
func idleOptions() []option {
	return []option{
		{value: plain(new(string)), name: "vmodule", arg: "TEXT"},
		{value: plain(new(string)), name: "log_backtrace_at", arg: "TEXT"},
		{value: boolean(new(bool)), name: "logtostderr"},
		{value: boolean(new(bool)), name: "alsologtostderr"},
		{value: plain(new(string)), name: "stderrthreshold", arg: "LEVEL"},
	}
}
