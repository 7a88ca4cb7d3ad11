// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/internal/status"
	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/iptables"
	"github.com/percale-net/percale/network/firewall/nftables"
	"github.com/percale-net/percale/subnet"
)

// A renderer makes the kernel hold a Ruleset. It writes nothing when that is so
// already, and says in words what differed.
type renderer interface {
	Name() string
	Sync(ctx context.Context, r firewall.Ruleset) (changed []string, err error)
	Clear(ctx context.Context) error
	Watch(ctx context.Context, kick func()) error
}

// A dropFinder knows which chains of others drop pods' packets although our
// rules accept them, as its last Sync left it: in nftables an accept ends only
// its own chain.
type dropFinder interface{ ForeignDrops() []nftables.Drop }

// An engine is the renderer in use, and the one that is not, whose rules would
// stand beside ours after a change of mode.
type engine struct {
	renderer
	other  renderer // nil if this machine cannot have rules of it
	period time.Duration

	wish    string    // the rules that were written last; a change without a new wish is a repair
	cleared bool      // the other's rules are gone
	round   time.Time // when the last one began
	fight   fight
}

// chooseEngine takes nftables where the kernel has it, unless told otherwise.
func (a *Agent) chooseEngine(context.Context) error {
	nft, nftErr := a.openNFTables()
	iptErr := iptables.Supported()
	useIptables := a.conf.Firewall == config.FirewallIptables ||
		a.conf.Firewall == config.FirewallAuto && nftErr != nil
	switch {
	case useIptables && iptErr != nil:
		return errors.Join(iptErr, nftErr)
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
	if nftErr != nil && a.conf.Firewall == config.FirewallAuto {
		a.log.Warn("iptables is used, since nftables cannot be", "err", nftErr)
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
	rules := firewall.Rules(a.firewallConfig(v))
	changed, err := a.engine.Sync(ctx, rules)
	if err != nil {
		err = fmt.Errorf("write %s rules: %w", a.engine.Name(), err)
	} else {
		err = a.clearOther(ctx)
	}
	by := who(a.engine.renderer, a.engine.round)
	var found repair
	if len(changed) > 0 && a.engine.wish == rules.String() {
		found = undoneRules(changed).by(by)
	}
	t := a.engine.fight.settle(partFirewallFight, mend{at: began, who: by}, found)
	a.engine.round = began
	if len(changed) > 0 && t.fight == nil {
		a.log.Info("firewall written", "mode", a.engine.Name(), "changed", cmp.Or(found.what, strings.Join(changed, "; ")))
	}
	a.noteFlannel()
	if err == nil {
		a.engine.wish = rules.String()
	}
	a.tellRuled(v.lease)
	a.report(func(s *status.Status) {
		s.Firewall.InSync = err == nil
		s.Firewall.Count++
		s.Firewall.Last, s.Firewall.Took = began, time.Since(began)
		t.report(s, &s.Firewall.Rounds)
		s.Fault(partFirewall, err, began)
		s.Fault("forward", a.engine.drops(), began)
	})
	return a.engine.period, errors.Join(err, a.engine.fight.told)
}

// tellRuled notes that rules for our subnet were written, or cannot be. Only then
// pods get addresses in it: what a pod sent before would be masqueraded by the
// rules of the former subnet, and connection tracking would go on with that.
func (a *Agent) tellRuled(own subnet.Lease) {
	if was := a.ruled.Swap(&own); was == nil || !slices.Equal(was.Subnets(), own.Subnets()) {
		a.kernels.Kick()
	}
}

// isRuled reports whether tellRuled was called for the subnets of own.
func (a *Agent) isRuled(own subnet.Lease) bool {
	ruled := a.ruled.Load()
	return ruled != nil && slices.Equal(ruled.Subnets(), own.Subnets())
}

// by returns r with who made it necessary, if that is known.
func (r repair) by(who meddler) repair {
	if who != (meddler{}) {
		r.what += "; by " + who.String()
	}
	return r
}

// noteFlannel has the kernel loop's report show what is left of flannel's rules,
// where the renderer in use can tell.
func (a *Agent) noteFlannel() {
	note := ""
	if finder, ok := a.engine.renderer.(interface{ FlannelLeft() []string }); ok {
		if left := finder.FlannelLeft(); len(left) > 0 {
			note = "Rules of flannel are here. They do no harm, but nobody needs them once flannel is gone from this node: " +
				strings.Join(left, "; ")
		}
	}
	if was := a.rulesNote.Swap(&note); was == nil && note != "" || was != nil && *was != note {
		a.kernels.Kick()
	}
}

// drops says what of others still drops pods' packets.
func (e *engine) drops() error {
	finder, ok := e.renderer.(dropFinder)
	if !ok {
		return nil
	}
	var found []error
	for _, d := range finder.ForeignDrops() {
		found = append(found, fmt.Errorf("%s: %s. Pods' packets may end there, and no rule elsewhere can save them. Let them through: %s",
			d.Chain, d.Why, d.Help))
	}
	return errors.Join(found...)
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
