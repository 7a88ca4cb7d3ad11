// SPDX-License-Identifier: Apache-2.0

package config

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Settings are what percaled was started with: one field per flag, in the
// flags' order. They come from Parse, checked, and are not changed after.
type Settings struct {
	EtcdEndpoints []string // URLs, http or https, at least one
	EtcdPrefix    string   // clean path without a slash at its end
	EtcdCertFile  string   // with EtcdKeyFile, or both empty
	EtcdKeyFile   string
	EtcdCAFile    string // "": the system's roots
	EtcdUsername  string // with EtcdPassword, or both empty
	EtcdPassword  Secret

	Ifaces        []string // names or addresses, in order of preference
	IfaceRegexes  []*regexp.Regexp
	IfaceCanReach netip.Addr // zero: not given
	PublicIP      netip.Addr // zero: the uplink's own
	PublicIPv6    netip.Addr // zero: the uplink's own

	NodeName    string // "" only where Kubernetes is to tell it, by POD_NAME
	SubnetFile  string
	RunDir      string
	StateDir    string
	SysctlDir   string        // where settings are written; they are read in /proc/sys
	RenewMargin time.Duration // before a lease ends

	CNIConfDir       string // where container runtimes look for CNI configurations; "": none is kept there
	CNIConfFile      string // what is kept there
	CNIConfExclusive bool   // others that would win are set aside

	SweepAddresses bool // free pod addresses of sandboxes that are gone

	IPMasq                   bool
	IPMasqFullyRandomDisable bool
	IptablesForwardRules     bool
	IptablesResync           time.Duration
	IPBlackholeRoute         bool

	HealthzIP   netip.Addr
	HealthzPort int // 0: no server

	KubeSubnetMgr             bool   // leases are on Nodes, not in etcd
	KubeAPIURL                string // "": the kubeconfig's, else the pod's
	KubeconfigFile            string // "": a pod's service account
	KubeAnnotationPrefix      string
	NetConfigPath             string
	SetNodeNetworkUnavailable bool

	Verbosity int // klog's level

	Cleanup    bool   // remove what is ours and end, instead of a run
	InstallCNI string // directory to copy the CNI plugins to, instead of a run; "": a run
}

// Debug reports whether to log debug messages, which klog has from level 1 on.
func (s Settings) Debug() bool { return s.Verbosity > 0 }

// Instance returns what tells this agent's firewall rules from those of another
// agent on this host: "percale" for the usual run directory, and else a name
// made of the last part of the directory's path, always beginning so. It has
// lower-case letters, digits and dashes only.
func (s Settings) Instance() string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, filepath.Base(s.RunDir))
	if name == "percale" || strings.HasPrefix(name, "percale-") {
		return name
	}
	return "percale-" + name
}

// Changed returns the flags whose value is not the default, as name and value
// in the flags' order. Secrets are hidden.
func (s Settings) Changed() []slog.Attr {
	d := defaults()
	was := options(&d)
	var changed []slog.Attr
	for i, o := range options(&s) {
		if text := o.show(); text != was[i].show() {
			changed = append(changed, slog.String(o.name, text))
		}
	}
	return changed
}

// LogValue logs what differs from the defaults, as one group.
func (s Settings) LogValue() slog.Value { return slog.GroupValue(s.Changed()...) }

func defaults() Settings {
	return Settings{
		EtcdEndpoints:             []string{"http://127.0.0.1:4001", "http://127.0.0.1:2379"},
		EtcdPrefix:                "/coreos.com/network",
		SubnetFile:                "/run/flannel/subnet.env",
		RunDir:                    "/run/percale",
		StateDir:                  "/var/lib/percale",
		SysctlDir:                 "/proc/sys",
		RenewMargin:               time.Hour,
		CNIConfFile:               "/etc/percale/10-percale.conflist",
		SweepAddresses:            true,
		IptablesForwardRules:      true,
		IptablesResync:            5 * time.Second,
		HealthzIP:                 netip.IPv4Unspecified(),
		KubeAnnotationPrefix:      "flannel.alpha.coreos.com",
		NetConfigPath:             "/etc/kube-flannel/net-conf.json",
		SetNodeNetworkUnavailable: true,
	}
}
