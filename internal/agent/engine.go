// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/iptables"
	"github.com/percale-net/percale/network/firewall/nftables"
)

// A renderer makes the kernel hold a Ruleset. It writes nothing when that is so
// already, and says in words what differed.
type renderer interface {
	Name() string
	Sync(ctx context.Context, r firewall.Ruleset) (changed []string, err error)
	Clear(ctx context.Context) error
	Watch(ctx context.Context, kick func()) error
}

// An engine is the renderer in use, and the one that is not, whose rules would
// stand beside ours after a change of mode.
type engine struct {
	renderer
	other  renderer // nil if this machine cannot have rules of it
	period time.Duration

	synced  bool // once, so that a later change is a repair
	cleared bool // the other's rules are gone
}

// chooseEngine takes nftables where the kernel has it, unless told otherwise.
func (a *Agent) chooseEngine(context.Context) error {
	nft, nftErr := a.openNFTables()
	iptErr := iptables.Supported()
	useIptables := a.conf.Firewall == config.FirewallIptables ||
		a.conf.Firewall == config.FirewallAuto && nftErr != nil
	switch {
	case useIptables && iptErr != nil:
		return iptErr
	case useIptables:
		a.engine = engine{renderer: iptables.Open(a.settings.Instance()), period: a.settings.IptablesResync}
		if nftErr == nil {
			a.engine.other = nft
		}
	case nftErr != nil:
		return fmt.Errorf("nftables: %w: load the module nf_tables, or set \"Firewall\": \"iptables\" in net-conf", nftErr)
	default:
		a.engine = engine{renderer: nft, period: period}
		if iptErr == nil {
			a.engine.other = iptables.Open(a.settings.Instance())
		}
	}
	a.report(func(s *status.Status) { s.Firewall.Mode = a.engine.Name() })
	return nil
}

func (a *Agent) openNFTables() (*nftables.Firewall, error) {
	if err := nftables.Supported(""); err != nil {
		return nil, err
	}
	return nftables.Open("", a.settings.Instance())
}

// firewallRound makes the kernel hold our rules.
func (a *Agent) firewallRound(ctx context.Context) (time.Duration, error) {
	v := a.facts.view()
	if !v.held {
		return 0, nil // the lease loop kicks
	}
	began := time.Now()
	changed, err := a.engine.Sync(ctx, firewall.Rules(a.firewallConfig(v)))
	if err != nil {
		err = fmt.Errorf("write %s rules: %w", a.engine.Name(), err)
	} else {
		err = a.clearOther(ctx)
	}
	repair := status.Repair{At: began, What: fmt.Sprint(changed)}
	repaired := len(changed) > 0 && a.engine.synced
	if len(changed) > 0 {
		a.log.Info("firewall written", "mode", a.engine.Name(), "changed", changed)
	}
	a.engine.synced = a.engine.synced || err == nil
	a.report(func(s *status.Status) {
		s.Firewall.InSync = err == nil
		s.Firewall.Count++
		s.Firewall.Last, s.Firewall.Took = began, time.Since(began)
		if repaired {
			s.Firewall.LastRepair = repair
		}
		s.Fault(partFirewall, err, began)
	})
	return a.engine.period, err
}

// clearOther removes what the other mode left, after ours stands.
func (a *Agent) clearOther(ctx context.Context) error {
	if a.engine.cleared || a.engine.other == nil {
		return nil
	}
	if err := a.engine.other.Clear(ctx); err != nil {
		return fmt.Errorf("remove %s rules of an earlier mode: %w", a.engine.other.Name(), err)
	}
	a.engine.cleared = true
	return nil
}

func (a *Agent) firewallConfig(v view) firewall.Config {
	c := firewall.Config{
		Families: []firewall.Pods{
			{Network: a.conf.Pools.V4.Network, Subnet: v.lease.V4.Subnet},
			{Network: a.conf.Pools.V6.Network, Subnet: v.lease.V6.Subnet},
		},
		Masquerade:  a.settings.IPMasq,
		RandomFully: !a.settings.IPMasqFullyRandomDisable,
		Forward:     a.settings.IptablesForwardRules,
	}
	if a.conf.Backend.Type == config.TypeVXLAN {
		c.TunnelPort = a.conf.Backend.Port
	}
	return c
}
