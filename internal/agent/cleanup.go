// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/percale-net/percale/internal/config"
	"github.com/percale-net/percale/network"
	"github.com/percale-net/percale/network/firewall"
	"github.com/percale-net/percale/network/firewall/iptables"
	"github.com/percale-net/percale/network/firewall/nftables"
	"github.com/percale-net/percale/network/kernel"
	"github.com/percale-net/percale/subnet/local"
)

// ErrLeft says that something of ours is in use by others and was left.
var ErrLeft = errors.New("not everything is removed, as told above; run it again then")

// Cleanup removes from this node what an agent with these settings made, and
// says on out what it removes and what it leaves. It needs no store and may be
// repeated. It refuses while that agent runs, and returns ErrLeft where
// something is still in use; then the files that tell of it stay, too.
func Cleanup(ctx context.Context, s config.Settings, out io.Writer) error {
	unlock, err := lockForCleanup(s.RunDir)
	if err != nil {
		return err
	}
	defer unlock()
	conn, err := kernel.Open("")
	if err != nil {
		return fmt.Errorf("reach the kernel: %w: run it as root", err)
	}
	defer conn.Close()
	c := &cleaner{settings: s, kernel: conn, out: out}
	c.remains = c.find()
	links, err := conn.Links(ctx)
	if err != nil {
		return err
	}
	errs := []error{c.cniFiles(), c.overlay(ctx, links), c.firewall(ctx), c.bridge(ctx, links)}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if c.left {
		return ErrLeft
	}
	c.tellSettings(ctx, links)
	if err := c.files(); err != nil {
		return err
	}
	if !c.told {
		c.say("nothing of percaled is here")
	}
	return nil
}

// A cleaner removes what one agent left.
type cleaner struct {
	settings config.Settings
	kernel   *kernel.Conn
	out      io.Writer
	remains  remains
	told     bool // something was said
	left     bool // something had to be left
}

func (c *cleaner) say(format string, args ...any) {
	c.told = true
	fmt.Fprintf(c.out, format+"\n", args...)
}

// keep says what is left, and what helps.
func (c *cleaner) keep(format string, args ...any) {
	c.left = true
	c.say(format, args...)
}

// lockForCleanup makes sure that no agent works with the directory, which need
// not exist.
func lockForCleanup(runDir string) (unlock func(), err error) {
	if _, err := os.Stat(runDir); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	lock, err := lockRunDir(runDir)
	if errors.Is(err, errRuns) {
		return nil, fmt.Errorf("percaled runs with --run-dir %s and would make everything again: stop it first: "+
			"systemctl stop percaled, or kill the process that \"percale status --run-dir %s\" names as pid", runDir, runDir)
	}
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// overlay removes our routes, then our devices.
func (c *cleaner) overlay(ctx context.Context, links map[string]network.Link) error {
	devices, err := c.devices(ctx, links)
	if err != nil {
		return err
	}
	have, err := c.routes(ctx, devices)
	if err != nil {
		return err
	}
	for _, name := range devices {
		if other := foreignOn(have, name); other != "" {
			c.keep("left device %s: %s goes over it and is not ours, so another agent uses it; if none does: ip link del %s", name, other, name)
			continue
		}
		if err := c.kernel.DelLink(ctx, name); err != nil {
			return err
		}
		c.say("removed device %s (VNI %d, port %d)", name, links[name].VXLAN.VNI, links[name].VXLAN.Port)
	}
	return nil
}

// routes removes our routes, and returns what is left.
func (c *cleaner) routes(ctx context.Context, devices []string) (have network.State, err error) {
	scope := kernel.Scope{Devices: devices, Networks: c.remains.networks}
	gone := 0
	for range maxPasses { // of routes with one key, a read shows one
		if have, err = c.kernel.Read(ctx, scope); err != nil {
			return have, fmt.Errorf("read kernel: %w", err)
		}
		var ours []network.Route
		for _, r := range have.Routes {
			if r.Protocol == network.Protocol {
				ours = append(ours, r)
			}
		}
		if len(ours) == 0 {
			break
		}
		if err := c.kernel.Apply(ctx, network.Changes{DelRoutes: ours}); err != nil {
			return have, err
		}
		gone += len(ours)
	}
	if gone > 0 {
		c.say("removed routes with protocol %d: %d", network.Protocol, gone)
	}
	return have, nil
}

// foreignOn returns a route on the device that no agent of ours would have
// left there; "" if there is none.
func foreignOn(have network.State, device string) string {
	for _, r := range have.Routes {
		if r.Link == device && r.Protocol != network.Protocol {
			return "route " + r.Dst.String()
		}
	}
	return ""
}

// firewall removes our rules of both kinds.
func (c *cleaner) firewall(ctx context.Context) error {
	instance := c.settings.Instance()
	var errs []error
	clear := func(r renderer, what string) {
		changed, _ := r.Sync(ctx, firewall.Ruleset{}) // Clear says what stays
		err := r.Clear(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", what, err))
		} else if len(changed) > 0 {
			c.say("removed %s", what)
		}
	}
	if nftables.Supported("") == nil {
		nft, err := nftables.Open("", instance)
		if err != nil {
			return err
		}
		defer nft.Close()
		clear(nft, "nftables table inet "+instance+" and its rules in chains of others")
	}
	if iptables.Supported() == nil {
		clear(iptables.Open(instance), "iptables chains "+strings.ToUpper(instance)+"-* and the jumps to them")
	}
	return errors.Join(append(errs, c.guards(ctx))...)
}

// bridge removes the pods' bridge if no pod is plugged into it.
func (c *cleaner) bridge(ctx context.Context, links map[string]network.Link) error {
	names, err := c.holding(ctx, ofKind(links, network.KindBridge), c.remains.gateways)
	if err != nil {
		return err
	}
	for _, name := range names {
		var ports []string
		for _, l := range links {
			if l.Master == name {
				ports = append(ports, l.Name)
			}
		}
		if len(ports) > 0 {
			slices.Sort(ports)
			c.keep("left bridge %s: pods are plugged in (%d, first %s): delete them, or move them to another node", name, len(ports), ports[0])
			continue
		}
		if err := c.kernel.DelLink(ctx, name); err != nil {
			return err
		}
		c.say("removed bridge %s", name)
	}
	return nil
}

// files removes our files.
func (c *cleaner) files() error {
	var errs []error
	if c.remains.envOurs {
		err := os.Remove(c.settings.SubnetFile)
		if err == nil {
			c.say("removed %s", c.settings.SubnetFile)
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	removed, err := local.Remove(c.settings.RunDir, c.settings.StateDir)
	for _, path := range removed {
		c.say("removed %s", path)
	}
	return errors.Join(append(errs, err)...)
}
